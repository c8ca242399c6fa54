"""The aggregator keeps the paper's bounds and limits, whatever the users and lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.aggregation import Trust, aggregate, list_utility, long_tail_coefficient

shares = st.floats(0, 1)
lists = st.lists(st.integers(0, 40), unique=True, max_size=15).map(lambda items: np.array(items, np.int32))


@st.composite
def trusts(draw: st.DrawFn) -> Trust:
    shortest, more = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    return Trust(draw(shares), draw(shares), shortest, shortest + more)


def test_by_hand() -> None:
    """alpha_1 = 0.5, alpha_2 = 0.3, users of 1 to 7 interactions: l = log 2 .. log 8, 3 lies halfway."""
    trust = Trust(0.5, 0.3, 1, 7)
    assert trust.alpha(np.array([1, 3, 7])) == pytest.approx([0.5, 0.25, 0.15])
    assert float(long_tail_coefficient(np.array(7))) == pytest.approx(math.log(8))
    assert list_utility(np.array([1, 2, 0]), 5).tolist() == [-1, -2, -6]

    ranking = aggregate(np.array([10, 11, 12]), np.array([12, 13]), alpha=0.5)
    # k' = 3: U(10) = -(1+4)/2, U(11) = -(2+4)/2, U(12) = -(3+1)/2, U(13) = -(4+2)/2; of 11 and 13,
    # which tie, 11 is the recommender's.
    assert ranking.items.tolist() == [12, 10, 11, 13]
    assert ranking.utility.tolist() == [-2, -2.5, -3, -3]
    assert ranking.recommender_place.tolist() == [3, 1, 2, 0]
    assert ranking.llm_place.tolist() == [1, 0, 0, 2]


@given(trusts(), st.lists(st.integers(0, 2000), min_size=1, max_size=20))
def test_alpha_is_bounded_and_never_rises_with_the_history(trust: Trust, lengths: list[int]) -> None:
    alpha = trust.alpha(np.sort(lengths))
    assert np.all(alpha <= trust.alpha_1 + 1e-12) and np.all(alpha >= trust.alpha_1 * trust.alpha_2 - 1e-12)
    assert np.all(np.diff(alpha) <= 1e-12)


@given(trusts())
def test_the_extremes_get_the_extremes(trust: Trust) -> None:
    assert trust.alpha(np.array(trust.shortest)) == pytest.approx(trust.alpha_1)
    assert trust.alpha(np.array(trust.longest + 1)) == pytest.approx(trust.alpha_1 * trust.alpha_2)
    assert trust.alpha(np.array(0)) == pytest.approx(trust.alpha_1)


@given(lists, lists, shares)
def test_aggregation_against_plain_python(recommender: np.ndarray, llm: np.ndarray, alpha: float) -> None:
    first, second = recommender.tolist(), llm.tolist()
    last = max(len(first), len(second)) + 1

    def utility(item: int) -> float:
        u_llm = -(second.index(item) + 1) if item in second else -last
        u_rec = -(first.index(item) + 1) if item in first else -last
        return alpha * u_llm + (1 - alpha) * u_rec

    ranking = aggregate(recommender, llm, alpha)
    assert sorted(ranking.items.tolist()) == sorted(set(first) | set(second))
    assert ranking.utility.tolist() == pytest.approx([utility(item) for item in ranking.items.tolist()])
    assert np.all(np.diff(ranking.utility) <= 0)
    for item, mine, theirs in zip(ranking.items, ranking.recommender_place, ranking.llm_place, strict=True):
        assert mine == (first.index(item) + 1 if item in first else 0)
        assert theirs == (second.index(item) + 1 if item in second else 0)


@given(lists, lists)
def test_alpha_zero_is_the_recommender_and_one_the_llm(recommender: np.ndarray, llm: np.ndarray) -> None:
    assert aggregate(recommender, llm, 0.0).items[: len(recommender)].tolist() == recommender.tolist()
    assert aggregate(recommender, llm, 1.0).items[: len(llm)].tolist() == llm.tolist()


@given(lists, lists, shares)
def test_both_lists_are_treated_alike(first: np.ndarray, second: np.ndarray, alpha: float) -> None:
    """Swapping the lists and their weights changes no utility."""
    there, back = aggregate(first, second, alpha), aggregate(second, first, 1 - alpha)
    assert dict(zip(there.items.tolist(), there.utility, strict=True)) == pytest.approx(
        dict(zip(back.items.tolist(), back.utility, strict=True))
    )


@given(lists, lists, shares, shares)
def test_more_trust_never_pushes_down_what_the_llm_ranks_higher(
    recommender: np.ndarray, llm: np.ndarray, a: float, b: float
) -> None:
    """An item that the LLM places above the recommender gains utility as alpha grows."""
    low, high = sorted([a, b])
    before, after = aggregate(recommender, llm, low), aggregate(recommender, llm, high)
    gained = dict(zip(after.items.tolist(), after.utility, strict=True))
    last = max(len(recommender), len(llm)) + 1
    llm_place = np.where(before.llm_place > 0, before.llm_place, last)
    recommender_place = np.where(before.recommender_place > 0, before.recommender_place, last)
    for item, utility, rises in zip(
        before.items.tolist(), before.utility, llm_place < recommender_place, strict=True
    ):
        assert gained[item] >= utility - 1e-9 if rises else gained[item] <= utility + 1e-9
