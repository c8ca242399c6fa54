"""Strategy next_item: the likeliest tokens are proposals, seats are filled in order, lists are read item by item."""

import numpy as np
import pytest

from longtail.augment.strategies.next_item import NextItemSection
from longtail.llm.vllm_pool import MAX_LOGPROBS
from longtail.schema import ALREADY_SEEN, DUPLICATE, NOT_CHOSEN, NOT_IN_CATALOGUE, UNPARSABLE
from tests.augment.strategies.conftest import (
    NAMES,
    answered,
    asked,
    catalogue_of,
    options,
    prompts_of,
    proposals,
    strategy_of,
    written,
)


def test_the_question_is_the_generators_prompt_and_asks_for_as_many_options_as_there_are():
    strategy = strategy_of(NextItemSection(), "token")
    (request,) = asked(strategy, [[1, 2, 3]], [[9]]).to_pylist()
    assert request["prompts"] == [prompts_of("token").next_item(np.array([1, 2, 3])).tolist()]
    assert (request["shown"], request["options"]) == ([], [])
    assert (strategy.sampling.max_tokens, strategy.sampling.top) == (1, MAX_LOGPROBS)


def test_the_likeliest_tokens_are_proposals_and_the_first_that_can_be_judged_stay_open():
    strategy = strategy_of(NextItemSection(proposals=2), "token")
    tokens = catalogue_of("token").tokens(np.array([4, 2, 5, 6, 7]))
    said = options([tokens[0], 0, *tokens[1:]], [0.4, 0.2, 0.1, 0.1, 0.05, 0.04])
    requests = asked(strategy, [[1, 2]], [[5]])  # an item that is held out is open like any other
    (row,) = proposals(strategy, answered(requests, [[said]]))
    assert [one["outcome"] for one in row] == [
        None,
        NOT_IN_CATALOGUE,
        ALREADY_SEEN,
        None,
        NOT_CHOSEN,
        NOT_CHOSEN,
    ]
    assert [one["item"] for one in row] == [4, None, 2, 5, 6, 7]
    assert row[0]["likelihood"] == pytest.approx(0.4) and row[0]["text"] is None


def test_reserved_seats_are_for_rare_items_and_come_after_the_others():
    strategy = strategy_of(NextItemSection(proposals=4, tail_share=0.5), "token")
    items = np.array([0, 1, 2, 12, 3, 25, 13])  # 12 to 23 are long-tail, those after them cold
    said = options(catalogue_of("token").tokens(items), 0.5 ** np.arange(1.0, 8.0))
    (row,) = proposals(strategy, answered(asked(strategy, [[9]]), [[said]]))
    assert [one["item"] for one in row if one["outcome"] is None] == [0, 1, 12, 25]


def test_items_of_other_slices_are_not_chosen():
    strategy = strategy_of(NextItemSection(proposals=2, only=["tail", "cold"]), "token")
    items = np.array([0, 12, 5, 25, 13])
    said = options(catalogue_of("token").tokens(items), 0.5 ** np.arange(1.0, 6.0))
    (row,) = proposals(strategy, answered(asked(strategy, [[9]]), [[said]]))
    assert [one["outcome"] for one in row] == [NOT_CHOSEN, None, NOT_CHOSEN, None, NOT_CHOSEN]


@pytest.mark.parametrize(
    ("rendering", "text"),
    [
        ("title", f"{NAMES[0]} 0\nNo such thing\n \n{NAMES[0].upper()} 0\n{NAMES[3]} 9\ncut off"),
        ("id", " i0, i999, nonsense, i0, i9, i1"),
    ],
)
def test_a_decoded_list_is_read_item_by_item_and_what_is_cut_off_is_none(rendering, text):
    strategy = strategy_of(NextItemSection(proposals=3), rendering)
    tokens = prompts_of(rendering).tokenizer(text, add_special_tokens=False)["input_ids"]
    (row,) = proposals(strategy, answered(asked(strategy, [[1]]), [[written(tokens)]]))
    assert [one["outcome"] for one in row] == [None, NOT_IN_CATALOGUE, UNPARSABLE, DUPLICATE, None]
    assert [row[0]["item"], row[4]["item"]] == [0, 9]
    assert all(0 < one["likelihood"] < 1 for one in row)


def test_a_row_with_an_error_has_no_proposals():
    strategy = strategy_of(NextItemSection(proposals=1), "token")
    said = options(catalogue_of("token").tokens(np.array([4])), [0.5])
    found = proposals(strategy, answered(asked(strategy, [[1], [2], [3]]), [[said], None, [said]]))
    assert [len(row) for row in found] == [1, 0, 1]
