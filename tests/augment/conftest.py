"""A catalogue, which the tests of `llm` use too, and rows of answers as the engines give them."""

from typing import Any

import pyarrow as pa

from longtail.schema import ANSWER, ANSWERS, REQUESTS
from tests.llm.conftest import catalogue

__all__ = ["catalogue"]


def answers(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of `schema.ANSWERS`. Fields that a row or a proposal does not give are null."""
    blank = dict.fromkeys(ANSWERS.names)
    return pa.Table.from_pylist([blank | {"user": place} | row for place, row in enumerate(rows)], ANSWERS)


def answered(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of `schema.REQUESTS` with the columns of `longtail.llm.vllm_pool.ask`, and `proposals` if a row has them."""
    lists = ("history", "shown", "prompts", "options")
    blank = dict.fromkeys(lists, []) | {"error": None, "answers": [], "seconds": 0.0}
    blank |= {"prompt_tokens": 0, "output_tokens": 0}
    whole = [blank | {"request_id": f"{place:016x}", "user": place} | row for place, row in enumerate(rows)]
    fields = [
        *REQUESTS,
        pa.field("answers", pa.list_(ANSWER)),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("seconds", pa.float32()),
        pa.field("error", pa.string()),
    ]
    fields += [ANSWERS.field("proposals")] if "proposals" in rows[0] else []
    fields += [ANSWERS.field("questions")] if "questions" in rows[0] else []
    return pa.Table.from_pylist(whole, pa.schema(fields))
