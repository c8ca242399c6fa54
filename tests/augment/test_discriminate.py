"""Pairs and the gatherer: one row per request comes out, whatever the order, batching and faults in between."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from app.augment.discriminate import NO_ITEM, Gather, pairs
from app.llm.engine import NOTHING

YES, NO = 7, 8


class Reads:
    """Stands for a strategy's `read`: the row says what was proposed."""

    name = "next_item"

    def read(self, row: dict) -> list[dict]:
        return [
            {"text": str(i), "item": i, "outcome": outcome, "likelihood": 0.5} for i, outcome in row["read"]
        ]


def judged(row: dict, fails: bool) -> dict:
    """What the discriminator's engines make of a pair: P(Yes) grows with the item code."""
    if fails or row["item"] == NO_ITEM:
        return row | NOTHING | {"error": "boom" if fails else None}
    yes = (row["item"] + 1) / 12
    logprobs = [[math.log(yes), math.log(1 - yes)]]
    return (
        row | NOTHING | {"alternatives": [[YES, NO]], "logprobs": logprobs, "prompt_tokens": 3, "error": None}
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), users=st.integers(1, 5))
def test_each_request_comes_out_once_and_whole(data, users):
    outcomes = st.lists(st.sampled_from([None, "duplicate", "held_out"]), max_size=5)
    read = [list(enumerate(data.draw(outcomes))) for _ in range(users)]
    similarity = csr_matrix(np.eye(10, dtype=np.float32))
    rows = [
        row
        for user in range(users)
        for row in pairs(
            NOTHING
            | {
                "request_id": f"{user:016x}",
                "user": user,
                "history": [user],
                "read": read[user],
                "error": None,
            },
            Reads(),
            similarity,
        )
    ]
    fails = data.draw(st.integers(-1, len(rows) - 1))
    done = [judged(row, place == fails) for place, row in enumerate(rows)]
    done = data.draw(st.permutations(done))
    gather, answers = Gather(YES, NO), []
    while done:
        size = data.draw(st.integers(1, len(done)))
        answers += gather(pa.Table.from_pylist(done[:size])).to_pylist()
        done = done[size:]
    assert sorted(answer["user"] for answer in answers) == list(range(users))
    for answer in answers:
        proposals = answer["proposals"]
        assert [(p["item"], p["outcome"]) for p in proposals] == read[answer["user"]]
        opened = [p for p in proposals if p["outcome"] is None]
        assert answer["questions"] == 1 + len(opened)
        for p in opened:
            assert p["yes_no"] is None or math.isclose(p["yes_no"], (p["item"] + 1) / 12, rel_tol=1e-5)
        assert sum(p["yes_no"] is None for p in opened) <= 1
        assert all(p["agreement"] == (1.0 if p["item"] == answer["user"] else 0.0) for p in opened)


def test_an_answer_that_the_engine_rejected_is_one_row_with_its_error():
    row = NOTHING | {
        "request_id": "0" * 16,
        "user": 3,
        "history": [1],
        "error": "too long",
        "read": [(1, None)],
    }
    (pair,) = pairs(row, Reads(), csr_matrix((10, 10)))
    (answer,) = Gather(YES, NO)(pa.Table.from_pylist([judged(pair, False)])).to_pylist()
    assert answer["error"] == "too long" and answer["proposals"] == [] and answer["questions"] == 1
