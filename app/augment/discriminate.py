"""Discrimination: a question Yes or No for every proposal, gathered again into one row per request.

The pipeline is one row per request at both ends. In between a request is spread over its pairs, and the gatherer holds
what is in flight until a request is whole. Should the gatherer be lost, so are only rows that were not written; they are
asked again.
"""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from app.llm.engine import Row, token_logprobs
from app.llm.prompts import Prompts
from app.schema import ANSWERS

CARRIED = ("request_id", "pairs", "pair", "history", "item", "draft")
"""Columns of a pair on its way through the discriminator's engines."""
NO_ITEM = -1


def pairs(row: Row, strategy: Any, similarity: csr_matrix) -> Iterator[Row]:
    """An answer of the generator -> one row per proposal that is still to be judged.

    similarity: items x items, row j the neighbours of j, of an ItemCF on the observed log: the independent signal. The
    answer itself travels as JSON with the first pair. A request without any open proposal is one row without an item.
    """
    failed = row["error"]
    draft = {
        "user": row["user"],
        "strategy": strategy.name,
        "prompt_tokens": row["prompt_tokens"],
        "output_tokens": row["output_tokens"],
        "seconds": row["seconds"],
        "text": row["text"],
        "error": failed,
        "proposals": [] if failed else strategy.read(row),
    }
    open_proposals = [proposal for proposal in draft["proposals"] if proposal["outcome"] is None]
    open_items = [proposal["item"] for proposal in open_proposals]
    agreement = np.asarray(similarity[np.asarray(row["history"])].sum(axis=0)).ravel()
    for proposal in open_proposals:
        proposal["agreement"] = float(agreement[proposal["item"]])
    shared = {"request_id": row["request_id"], "pairs": max(1, len(open_items)), "history": row["history"]}
    for place, item in enumerate(open_items or [NO_ITEM]):
        yield shared | {
            "pair": place,
            "item": item,
            "draft": json.dumps(draft) if place == 0 else "",
        }


def question(row: Row, prompts: Prompts) -> tuple[list[int], Row] | None:
    """The discriminator's prompt for one pair; its answer is log P(Yes) and log P(No)."""
    if row["item"] == NO_ITEM:
        return None
    prompt = prompts.yes_no(np.asarray(row["history"], np.int32), row["item"])
    return prompt.tolist(), token_logprobs([prompts.yes, prompts.no])


class Gather:
    """Puts the pairs of a request together; an actor, because they may come in several batches."""

    def __init__(self, yes: int, no: int) -> None:
        self.yes, self.no = yes, no
        self._open: dict[str, dict[int, Row]] = {}

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of pairs -> rows of `schema.ANSWERS` for the requests that are whole now."""
        whole = []
        for row in batch.to_pylist():
            met = self._open.setdefault(row["request_id"], {})
            met[row["pair"]] = row
            if len(met) == row["pairs"]:
                whole.append(self._answer(self._open.pop(row["request_id"])))
        return pa.Table.from_pylist(whole, ANSWERS)

    def _answer(self, met: dict[int, Row]) -> Row:
        answer = json.loads(met[0]["draft"])
        judged = iter([met[place] for place in range(len(met))])
        asked = 0
        for proposal in answer["proposals"]:
            if proposal["outcome"] is None:
                row = next(judged)
                proposal["yes_no"] = self._yes_no(row)
                asked += 1
                for cost in ("prompt_tokens", "output_tokens", "seconds"):
                    answer[cost] += row[cost]
        return answer | {"request_id": met[0]["request_id"], "questions": 1 + asked}

    def _yes_no(self, row: Row) -> float | None:
        """P(Yes) / (P(Yes) + P(No)); None where the engine failed on this pair."""
        if row["error"]:
            return None
        found = dict(zip(row["alternatives"][0], row["logprobs"][0], strict=True))
        return 1.0 / (1.0 + math.exp(found[self.no] - found[self.yes]))
