"""Sampled lists: each has a different order of the history, stops at the end token, and adds at most the recipe's share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.id_list import IdListSection
from longtail.recipe import Generator
from longtail.schema import ACCEPTED, ALREADY_SEEN, DUPLICATE, NOT_CHOSEN, NOT_IN_CATALOGUE
from tests.augment.strategies.conftest import (
    N_ITEMS,
    answered,
    asked,
    catalogue_of,
    listed,
    prompts_of,
    proposals,
    strategy_of,
    written,
)


def test_each_list_is_asked_with_another_order_of_the_whole_history():
    strategy = strategy_of(IdListSection(lists=4, length=5), "token")
    history = [*range(9)]
    rows = asked(strategy, [history]).to_pylist()
    catalogue = catalogue_of("token")
    orders = [catalogue.of_tokens(np.array(row["prompts"][0])) for row in rows]
    orders = [tuple(order[order >= 0].tolist()) for order in orders]
    assert len(set(orders)) == 4 and all(sorted(order) == history for order in orders)
    assert len({row["request_id"] for row in rows}) == 4
    # LLM4IDRec (2411.02041), the authors' code.
    assert (strategy.sampling.temperature, strategy.sampling.top_p) == (0.8, 0.9)


def test_a_short_history_is_not_asked_about_twice_in_the_same_order():
    rows = asked(strategy_of(IdListSection(lists=5), "token"), [[3], [3, 4]])
    assert rows["user"].to_pylist() == [0, 1, 1]


@settings(max_examples=100)
@given(
    tokens=st.lists(st.integers(-2, N_ITEMS + 1), max_size=20),
    share=st.one_of(st.none(), st.floats(0.05, 2)),
    lists=st.integers(1, 3),
    length=st.integers(1, 12),
)
def test_reading_equals_the_rule_token_by_token(tokens, share, lists, length):
    """Compared with brute force. A token is an item; -1 is the end of the list; -2 or beyond the catalogue is no item."""
    strategy = strategy_of(IdListSection(lists=lists, length=length, share=share), "token")
    history = [0, 1, 2, 3, 4]
    rows = asked(strategy, [history])
    end, first = prompts_of("token").end, catalogue_of("token").first_token
    said = written([end if token == -1 else 0 if token == -2 else first + token for token in tokens], 0.25)
    (found, *_) = proposals(strategy, answered(rows, [[said]] * len(rows)))
    seats = length if share is None else min(length, int(np.floor(round(share * 5, 6))) // lists)
    expected, met = [], set()
    for token in tokens:
        if token == -1:
            break
        if not 0 <= token < N_ITEMS:
            expected.append((None, NOT_IN_CATALOGUE))
            continue
        outcome = DUPLICATE if token in met else ALREADY_SEEN if token in history else None
        met.add(token)
        if outcome is None:
            outcome = ACCEPTED if seats > 0 else NOT_CHOSEN
            seats -= 1
        expected.append((token, outcome))
    assert [(p["item"], p["outcome"]) for p in found] == expected
    assert all(p["likelihood"] == pytest.approx(0.25) and p["text"] is None for p in found)


@settings(max_examples=50)
@given(share=st.floats(0.01, 3), lists=st.integers(1, 4), history=st.integers(1, 12))
def test_all_lists_of_a_user_stay_within_the_share(share, lists, history):
    strategy = strategy_of(IdListSection(lists=lists, length=12, share=share), "token")
    rows = asked(strategy, [[*range(history)]])
    said = written(listed("token", [*range(12, 24)]))
    found = proposals(strategy, answered(rows, [[said]] * len(rows)))
    accepted = sum(p["outcome"] == ACCEPTED for own in found for p in own)
    assert accepted <= share * history + 1e-6


def test_the_user_is_named_if_tuning_taught_it():
    section, train = IdListSection(), [[3], [3]]
    for numbered in (False, True):
        strategy = strategy_of(section, "token", tuning=Generator(user_number=numbered))
        rows = asked(strategy, train).to_pylist()
        for user, row in enumerate(rows):
            expected = prompts_of("token").id_list(
                np.array([3]), strategy.room, user=user if numbered else None
            )
            assert row["prompts"] == [expected.tolist()]
        assert (rows[0]["prompts"] != rows[1]["prompts"]) == numbered


@pytest.mark.parametrize("rendering", ["title", "id", "renumbered", "string"])
def test_written_items_are_read_as_lists(rendering):
    strategy = strategy_of(IdListSection(length=3), rendering)
    rows = asked(strategy, [[0, 1], [0, 1]])
    said = written(listed(rendering, [7, 0, 7, 12, 13, 14]), 0.9)
    found, none = proposals(strategy, answered(rows, [[said], None]))
    outcomes = {p["item"]: p["outcome"] for p in reversed(found)}
    assert outcomes == {7: ACCEPTED, 0: ALREADY_SEEN, 12: ACCEPTED, 13: ACCEPTED, 14: NOT_CHOSEN}
    assert not none and all(p["text"] for p in found)
