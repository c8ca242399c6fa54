"""Discrimination: each open proposal is asked about once, and P(Yes) comes back to its place; what the strategy's LLM
cost and what the discriminator cost stay apart."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.augment.discriminate import finished, questions, yes_share
from app.augment.strategies.base import Spoken
from app.llm.engine import ANSWER
from app.llm.prompts import Prompts
from app.llm.small import build_tokenizer
from app.schema import ANSWERS, DUPLICATE, HELD_OUT
from tests.augment.conftest import answered

N_ITEMS = 40
outcome = st.sampled_from([None, None, DUPLICATE, HELD_OUT])
proposals = st.lists(st.tuples(st.integers(0, N_ITEMS - 1), outcome), max_size=5)


@pytest.fixture(scope="session")
def prompts(catalogue) -> Prompts:
    return Prompts(build_tokenizer(catalogue, "token"), catalogue, "token", history=5, context=300)


def drafts(read: list[list[tuple[int, str | None]]]) -> pa.Table:
    """Rows as a strategy leaves them: the LLM answered and its proposals are read."""
    return answered(
        [
            {
                "history": [user, user + 1],
                "prompt_tokens": 10 + user,
                "output_tokens": 1,
                "seconds": 0.5,
                "questions": 1,
                "proposals": [{"item": one, "outcome": outcome, "likelihood": 0.5} for one, outcome in own],
            }
            for user, own in enumerate(read)
        ]
    ).drop_columns(["prompts", "options"])


def judged(asked: pa.Table, failing: int) -> pa.Table:
    """What the discriminator's engine makes of it: P(Yes) tells by its value which prompt was asked; one row may fail."""
    columns: dict[str, list] = {
        "answers": [],
        "prompt_tokens": [],
        "output_tokens": [],
        "seconds": [],
        "error": [],
    }
    for row, own in enumerate(asked["prompts"].to_pylist()):
        said = [
            {
                "written": [1],
                "written_logprobs": [-0.1],
                "options": [0, 1],
                "option_logprobs": logprobs(prompt),
            }
            for prompt in own
        ]
        fails = row == failing and own
        columns["answers"].append([] if fails else said)
        columns["prompt_tokens"].append(sum(map(len, own)))
        columns["output_tokens"].append(len(own))
        columns["seconds"].append(0.25)
        columns["error"].append("boom" if fails else None)
    kinds = [pa.list_(ANSWER), pa.int32(), pa.int32(), pa.float32(), pa.string()]
    table = asked.drop_columns(["prompts", "options"])
    for (name, values), kind in zip(columns.items(), kinds, strict=True):
        table = table.append_column(name, pa.array(values, kind))
    return table


def logprobs(prompt: list[int]) -> list[float]:
    yes = (sum(prompt) % 97 + 1) / 99
    return [math.log(yes), math.log(1 - yes)]


@given(read=st.lists(proposals, min_size=1, max_size=4), failing=st.integers(-1, 3))
def test_each_open_proposal_has_its_own_p_of_yes(prompts, read, failing):
    asked = questions(drafts(read), prompts)
    table = finished(judged(asked, failing), "next_item", judged=True)
    assert table.schema == ANSWERS
    for user, (own, row) in enumerate(zip(read, table.to_pylist(), strict=True)):
        still_open = [one for one, outcome in own if outcome is None]
        fails = user == failing and still_open
        assert row["strategy"] == "next_item" and row["questions"] == 1
        assert (row["prompt_tokens"], row["output_tokens"], row["seconds"]) == (10 + user, 1, 0.5)
        assert row["judge_questions"] == len(still_open) and row["judge_seconds"] == 0.25
        assert [(one["item"], one["outcome"]) for one in row["proposals"]] == own
        for one in row["proposals"]:
            if one["outcome"] is not None or fails:
                assert one["yes_no"] is None
            else:
                prompt = prompts.yes_no(np.array([user, user + 1]), one["item"]).tolist()
                assert one["yes_no"] == pytest.approx(math.exp(logprobs(prompt)[0]), rel=1e-5)


@given(read=st.lists(proposals, min_size=3, max_size=5))
def test_a_slice_is_finished_as_the_whole(prompts, read):
    """Ray Data hands out slices of blocks."""
    whole = judged(questions(drafts(read), prompts), failing=-1)
    expected = finished(whole, "next_item", judged=True).slice(1, len(read) - 2)
    assert finished(whole.slice(1, len(read) - 2), "next_item", judged=True).equals(expected)
    sliced = questions(drafts(read).slice(1, len(read) - 2), prompts)
    assert sliced.equals(questions(drafts(read), prompts).slice(1, len(read) - 2))


def test_without_a_discriminator_an_answer_is_finished_as_it_is(prompts):
    (row,) = finished(drafts([[(3, None), (4, HELD_OUT)]]), "id_list", judged=False).to_pylist()
    assert (row["strategy"], row["judge_questions"], row["judge_tokens"], row["judge_seconds"]) == (
        "id_list",
        0,
        0,
        0,
    )
    assert [one["yes_no"] for one in row["proposals"]] == [None, None]
    assert (row["questions"], row["prompt_tokens"], row["error"]) == (1, 10, None)


def test_an_answer_that_the_generator_failed_on_is_not_asked_about(prompts):
    failed = answered(
        [{"error": "too long", "proposals": [], "questions": 0}, {"proposals": [], "questions": 1}]
    )
    asked = questions(failed.drop_columns(["prompts", "options"]), prompts)
    assert asked["prompts"].to_pylist() == [[], []]
    rows = finished(judged(asked, -1), "next_item", judged=True).to_pylist()
    assert [row["error"] for row in rows] == ["too long", None]
    assert [row["judge_questions"] for row in rows] == [0, 0]


def test_options_are_yes_and_no_in_this_order(prompts):
    asked = questions(drafts([[(3, None)]]), prompts)
    assert asked["options"].to_pylist() == [[prompts.yes, prompts.no]]


@given(yes=st.floats(-50, 0, width=32), no=st.floats(-50, 0, width=32))
def test_yes_share_is_the_share_of_yes_among_both(yes, no):
    said = answered(
        [
            {
                "answers": [
                    {"written": [], "written_logprobs": [], "options": [7, 8], "option_logprobs": [yes, no]}
                ]
            }
        ]
    )
    (share,) = yes_share(Spoken.of(said))
    assert share == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), rel=1e-4, abs=1e-30)
