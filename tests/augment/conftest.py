"""The catalogue that the tests of the LLM room use, too; and rows of answers as the engines leave them."""

from typing import Any

import pyarrow as pa

from longtail.schema import ANSWER, ANSWERS, REQUESTS
from tests.llm.conftest import catalogue

__all__ = ["catalogue"]


def answers(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of `schema.ANSWERS`; what a row does not name is null, of proposals too."""
    blank = dict.fromkeys(ANSWERS.names)
    return pa.Table.from_pylist([blank | {"user": place} | row for place, row in enumerate(rows)], ANSWERS)


def answered(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of `schema.REQUESTS` with what `longtail.llm.vllm_pool.ask` adds, and `proposals` where a row names them."""
    lists = ("history", "held_out", "shown", "prompts", "options")
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
