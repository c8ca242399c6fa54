"""Strategy next_item: an answer becomes proposals with outcomes; held-out items are neither asked with nor kept."""

import numpy as np
import pyarrow as pa
import pytest

from app.augment.next_item import NextItemStrategy, _requests
from app.llm.prompts import Prompts
from app.llm.small import build_tokenizer
from app.recipe import NextItem
from app.schema import ALREADY_SEEN, DUPLICATE, HELD_OUT, HISTORIES, NOT_IN_CATALOGUE, UNPARSABLE


def strategy(
    catalogue: pa.Table, rendering: str, proposals: int = 3, tail_share: float = 0.0
) -> NextItemStrategy:
    tokenizer = build_tokenizer(catalogue, rendering)
    prompts = Prompts(tokenizer, catalogue, rendering, history=5, context=300)
    return NextItemStrategy(
        NextItem(proposals=proposals, tail_share=tail_share), prompts, catalogue, rendering
    )


def test_the_likeliest_tokens_are_proposals_until_enough_can_be_judged(catalogue):
    asked = strategy(catalogue, "token")
    first = asked.first_item_token
    answer = {
        "history": [1, 2],
        "held_out": [5],
        "alternatives": [[first + 4, 0, first + 2, first + 5, first + 6, first + 7, first + 8]],
        "logprobs": [np.log([0.4, 0.2, 0.1, 0.1, 0.05, 0.04, 0.03]).tolist()],
    }
    read = asked.read(answer)
    assert [p["outcome"] for p in read] == [None, NOT_IN_CATALOGUE, ALREADY_SEEN, HELD_OUT, None, None]
    assert [p["item"] for p in read] == [4, None, 2, 5, 6, 7]
    assert read[0]["likelihood"] == pytest.approx(0.4)


def test_reserved_seats_are_for_rare_items(catalogue):
    asked = strategy(catalogue, "token", proposals=4, tail_share=0.5)
    items = [20, 21, 22, 3, 23, 4, 5]  # codes below 10 are long-tail
    logprobs = [(-np.arange(1.0, 8.0)).tolist()]
    answer = {
        "history": [],
        "held_out": [],
        "alternatives": [[asked.first_item_token + i for i in items]],
        "logprobs": logprobs,
    }
    assert [p["item"] for p in asked.read(answer)] == [20, 21, 3, 4]


@pytest.mark.parametrize(
    ("rendering", "text", "outcomes"),
    [
        (
            "title",
            "Trail shoe red\nNo such thing\n \ntrail SHOE red\nTent model 9\ncut off",
            [None, NOT_IN_CATALOGUE, UNPARSABLE, DUPLICATE, None],
        ),
        ("id", " i0, i999, nonsense, i0, i9, i1", [None, NOT_IN_CATALOGUE, UNPARSABLE, DUPLICATE, None]),
    ],
)
def test_a_decoded_list_is_read_line_by_line(catalogue, rendering, text, outcomes):
    asked = strategy(catalogue, rendering)
    tokens = asked.tokenizer(text, add_special_tokens=False)["input_ids"]
    logprobs = [[-0.1]] * len(tokens)
    read = asked.read({"history": [1], "held_out": [], "tokens": tokens, "logprobs": logprobs})
    assert [p["outcome"] for p in read] == outcomes
    assert all(0 < p["likelihood"] < 1 for p in read)


@pytest.mark.parametrize("rendering", ["token", "title", "id"])
def test_no_prompt_depends_on_held_out_items(catalogue, rendering):
    """Two users who differ in nothing but their held-out items are asked the very same question."""
    asked = strategy(catalogue, rendering)
    prompts = []
    for held_out in ([20, 21], [30, 31]):
        row = {
            "user": 0,
            "user_id": "a",
            "items": [8, 9, 10, *held_out],
            "timestamps": [0] * 5,
            "train_end": 3,
            "valid_end": 4,
            "slice": "sparse",
        }
        (request,) = _requests(pa.Table.from_pylist([row], HISTORIES), ["asked"]).to_pylist()
        assert request["held_out"] == held_out
        prompts.append(asked.question(request))
    assert prompts[0] == prompts[1]


def test_request_ids_depend_on_the_user_and_on_what_is_asked():
    rows = [
        {
            "user": user,
            "user_id": "a",
            "items": [1, 2, 3],
            "timestamps": [0] * 3,
            "train_end": end,
            "valid_end": 2,
            "slice": "sparse",
        }
        for user, end in ((0, 1), (1, 1), (2, 0))
    ]
    batch = pa.Table.from_pylist(rows, HISTORIES)
    ids = _requests(batch, ["a"])["request_id"].to_pylist()
    assert len(set(ids)) == 2, "a user without training interactions is not asked about"
    assert (
        ids
        == _requests(batch, ["a"])["request_id"].to_pylist()
        != _requests(batch, ["b"])["request_id"].to_pylist()
    )
