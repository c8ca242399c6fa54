"""The share of cold items is that of a brute-force count, and as near to the wanted one as it can be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders.interactions import Histories
from longtail.recommenders.scoring.exposure import MANY, bias_for, factor_for, some_users

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 7.0]), min_size=3, max_size=3)


def shown(warm: np.ndarray, cold: np.ndarray, factor: float) -> int:
    """How many cold items are among the first places, of all users together; warm ones first if equal."""
    count = 0
    for own, new in zip(warm, cold, strict=True):
        ranked = [(-score, 0) for score in own if score > 0] + [
            (-score * factor, 1) for score in new if score * factor > 0
        ]
        count += sum(kind for _, kind in sorted(ranked)[: warm.shape[1]])
    return count


@given(rows=st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=6), share=st.floats(0, 1))
def test_the_share_is_not_passed_and_reached_if_it_can_be(
    rows: list[tuple[list[float], list[float]]], share: float
) -> None:
    warm, cold = (np.array([sorted(row[part], reverse=True) for row in rows]) for part in (0, 1))
    factor, wanted = factor_for(warm, cold, share), int(share * warm.size)
    found, free = shown(warm, cold, factor), shown(warm, cold, 1e-12)
    if not wanted:
        assert factor == 0
    else:
        assert free <= found <= max(wanted, free)
        assert shown(warm, cold, factor * (1 + 1e-5)) >= min(wanted, (cold > 0).sum())


def test_scores_without_cold_items() -> None:
    assert factor_for(np.ones((4, 10)), np.full((4, 10), -np.inf), 0.05) == 0


def test_users_are_some_with_a_history() -> None:
    seen = Histories(np.repeat(np.arange(MANY * 3 + 1), 2)[1:], np.zeros(MANY * 3, np.int32))
    users = some_users(seen)
    assert len(users) == MANY and (np.diff(users) > 0).all() and (seen.lengths[users] > 0).all()
    assert not len(some_users(Histories.of([])))


SIGNED = st.lists(st.sampled_from([-np.inf, -3.0, -0.5, 0.0, 0.25, 2.0, 7.0]), min_size=3, max_size=3)


def shown_above(warm: np.ndarray, cold: np.ndarray, bias: float) -> int:
    """As `shown`, for scores of any sign to which a bias is added."""
    count = 0
    for own, new in zip(warm, cold, strict=True):
        ranked = [(-score, 0) for score in own if np.isfinite(score)] + [
            (-score - bias, 1) for score in new if np.isfinite(score)
        ]
        count += sum(kind for _, kind in sorted(ranked)[: warm.shape[1]])
    return count


@given(rows=st.lists(st.tuples(SIGNED, SIGNED), min_size=1, max_size=6), share=st.floats(0, 1))
def test_a_bias_does_not_pass_the_share_and_reaches_it_if_it_can_be(
    rows: list[tuple[list[float], list[float]]], share: float
) -> None:
    warm, cold = (np.array([sorted(row[part], reverse=True) for row in rows]) for part in (0, 1))
    bias, wanted = bias_for(warm, cold, share), int(share * warm.size)
    if not np.isfinite(bias):
        assert bias < 0 and (not wanted or not np.isfinite(cold).any())
        return
    found, free = shown_above(warm, cold, bias), shown_above(warm, cold, -1e6)
    assert found <= max(wanted, free)
    assert shown_above(warm, cold, bias + 1e-4) >= min(wanted, np.isfinite(cold).sum())
