"""Pairs: both orders are asked, each pair has one outcome, and the order of the two questions changes nothing."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.cold_pairs import ColdPairsSection
from longtail.augment.strategies.pairs import PairsSection
from longtail.registry import strategy_spec
from longtail.schema import ACCEPTED, UNDECIDED
from tests.augment.strategies.conftest import (
    COLD,
    N_ITEMS,
    answered,
    asked,
    hints_of,
    options,
    prompts_of,
    proposals,
    strategy_of,
)

HISTORY = [0, 1, 2]
PROBABILITY = st.floats(0.01, 0.99)
ANSWERED = st.lists(st.tuples(PROBABILITY, PROBABILITY), min_size=3, max_size=3)


def rows_of(pairs: int):
    strategy = strategy_of(PairsSection(pairs=pairs), "token")
    return strategy, asked(strategy, [HISTORY])


def letters(said: list[tuple[float, float]]) -> list[dict]:
    """P(A) in the first and in the second order of each pair -> the answers of the engine."""
    prompts = prompts_of("token")
    return [options([prompts.a, prompts.b], [p, 1 - p]) for pair in said for p in pair]


def test_each_pair_is_asked_in_both_orders_about_different_unseen_items():
    strategy, rows = rows_of(pairs=3)
    row, prompts = rows.to_pylist()[0], prompts_of("token")
    shown = np.array(row["shown"]).reshape(-1, 2)
    assert len(set(row["shown"])) == 6 and not set(row["shown"]) & set(HISTORY)
    assert max(row["shown"]) < COLD, "the items that all users could have met"
    expected = [
        prompts.preference(np.array(HISTORY), *pair).tolist() for a, b in shown for pair in ((a, b), (b, a))
    ]
    assert row["prompts"] == expected and row["options"] == [prompts.a, prompts.b]


@settings(max_examples=100)
@given(said=ANSWERED)
def test_reading_equals_the_rule_pair_by_pair(said):
    """Compared with brute force."""
    strategy, rows = rows_of(pairs=3)
    shown = rows["shown"][0].as_py()
    (found,) = proposals(strategy, answered(rows, [letters(said)]))
    expected = []
    for place, (first, second) in enumerate(said):
        a, b = shown[2 * place : 2 * place + 2]
        for_a = (first + 1 - second) / 2
        assume(min(abs(for_a - 0.5), abs(first - 0.5), abs(second - 0.5)) > 1e-6)  # no tie, even if rounded
        outcome = ACCEPTED if (first > 0.5) == (second < 0.5) else UNDECIDED
        best = (a, b, for_a) if for_a > 0.5 else (b, a, 1 - for_a)
        expected.append((*best[:2], outcome, best[2]))
    expected.sort(key=lambda one: -one[3])
    assert [p["likelihood"] for p in found] == pytest.approx([one[3] for one in expected], abs=1e-5)
    kept = {(p["item"], p["against"], p["outcome"]) for p in found}
    assert kept == {one[:3] for one in expected}


@settings(max_examples=60)
@given(said=ANSWERED)
def test_the_order_that_is_asked_first_changes_nothing(said):
    strategy, rows = rows_of(pairs=3)
    shown = np.array(rows["shown"][0].as_py()).reshape(-1, 2)
    swapped = pa.array([shown[:, ::-1].ravel()], pa.list_(pa.int32()))
    turned = rows.set_column(rows.column_names.index("shown"), "shown", swapped)
    (one,) = proposals(strategy, answered(rows, [letters(said)]))
    (other,) = proposals(strategy, answered(turned, [letters([pair[::-1] for pair in said])]))
    one, other = (sorted(own, key=lambda p: min(p["item"], p["against"])) for own in (one, other))
    for a, b in zip(one, other, strict=True):
        assert a["likelihood"] == pytest.approx(b["likelihood"], abs=1e-6)
        assert a["outcome"] == b["outcome"]
        if abs(a["likelihood"] - 0.5) > 1e-6:
            assert (a["item"], a["against"]) == (b["item"], b["against"])


def test_an_exact_tie_is_undecided():
    strategy, rows = rows_of(pairs=1)
    (found,) = proposals(strategy, answered(rows, [letters([(0.5, 0.5)])]))
    assert [p["outcome"] for p in found] == [UNDECIDED]


def test_a_row_with_an_error_has_no_proposals_and_shifts_no_other():
    strategy = strategy_of(PairsSection(pairs=1), "token")
    rows = asked(strategy, [[0, 1], [2, 3], [4, 5]])
    said = letters([(0.9, 0.1)])
    found = proposals(strategy, answered(rows, [said, None, said]))
    assert [len(own) for own in found] == [1, 0, 1]
    for row in (0, 2):
        assert [found[row][0]["item"], found[row][0]["against"]] == rows["shown"][row].as_py()


def test_the_recommenders_best_two_are_the_first_pair():
    hints = hints_of([[0, 1, 2], [0, 1, 5, 6, 7], [1, 5, 6], [1, 5]])
    strategy = strategy_of(PairsSection(choose="top", pairs=2), "token", hints)
    best = hints.top(np.array(HISTORY), 4)
    assert asked(strategy, [HISTORY])["shown"][0].as_py() == best[: len(best) // 2 * 2].tolist()


def test_a_user_whom_the_recommender_knows_nothing_for_is_not_asked_about():
    strategy = strategy_of(PairsSection(choose="top"), "token", hints_of([[0], [1, 2]]))
    assert len(asked(strategy, [[0]])) == 0


def test_cold_pairs_are_of_cold_items_alone():
    section = ColdPairsSection(pairs=5)
    strategy = strategy_of(section, "title")
    shown = asked(strategy, [[0, 1], [2]])["shown"].to_pylist()
    assert all(sorted(set(own)) == sorted(own) and len(own) == N_ITEMS - COLD for own in shown)
    assert all(item >= COLD for own in shown for item in own)
    spec = strategy_spec("cold_pairs")
    assert spec.settings is ColdPairsSection and spec.role_of(section) == "discriminator"
