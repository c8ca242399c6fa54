"""The metrics equal their definitions, written out user by user, and keep the laws that follow from them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from longtail.ranking_metrics import (
    METRICS,
    SAMPLED_METRICS,
    Moments,
    lift,
    per_user,
    per_user_sampled,
)

KS = [1, 3, 5, 10, 20]


@st.composite
def targets(draw):
    """Rows of (user, rank): a user's targets that are found stand at distinct ranks."""
    users, ranks = [], []
    for user in draw(st.sets(st.integers(0, 50), max_size=8)):
        found = draw(st.sets(st.integers(1, 30), max_size=4))
        missed = draw(st.integers(0 if found else 1, 3))
        users += [user] * (len(found) + missed)
        ranks += [*found, *[0] * missed]
    order = draw(st.permutations(range(len(users))))
    return np.array(users, np.int32)[list(order)], np.array(ranks, np.int32)[list(order)]


def by_definition(ranks: list[int], k: int) -> list[float]:
    found = sorted(rank for rank in ranks if 1 <= rank <= k)
    dcg = sum(1 / math.log2(rank + 1) for rank in found)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(ranks), k) + 1))
    return [len(found) / len(ranks), float(bool(found)), dcg / ideal, 1 / found[0] if found else 0.0]


@given(targets())
def test_equals_the_definition_written_out(table):
    users, ranks = table
    codes, values = per_user(users, ranks, KS)
    assert codes.tolist() == sorted(set(users.tolist()))
    assert values.shape == (len(codes), len(METRICS), len(KS))
    for at, user in enumerate(codes):
        own = ranks[users == user].tolist()
        expected = np.array([by_definition(own, k) for k in KS]).T
        np.testing.assert_allclose(values[at], expected, atol=1e-12)


@given(targets())
def test_values_are_shares_and_all_but_ndcg_grow_with_k(table):
    _, values = per_user(*table, KS)
    assert (values >= 0).all() and (values <= 1 + 1e-12).all()
    growing = values[:, [METRICS.index(name) for name in ("recall", "hit", "mrr")]]
    assert (np.diff(growing, axis=2) >= -1e-12).all()


@given(targets(), st.integers(0, 50))
def test_parts_of_the_users_put_together_are_the_whole(table, cut):
    users, ranks = table
    codes, values = per_user(users, ranks, KS)
    parts = [per_user(users[part], ranks[part], KS) for part in (users < cut, users >= cut)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), codes)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), values)


def test_a_single_target_at_rank_two():
    _, values = per_user(np.array([9]), np.array([2]), [1, 2])
    np.testing.assert_allclose(values[0], [[0, 1], [0, 1], [0, 1 / math.log2(3)], [0, 0.5]])


@given(targets())
def test_sampled_values_are_means_over_a_users_targets(table):
    users, ranks = table
    ranks = np.where(ranks == 0, 31, ranks)
    codes, values = per_user_sampled(users, ranks, KS)
    assert values.shape == (len(codes), len(SAMPLED_METRICS), len(KS))
    for at, user in enumerate(codes):
        own = ranks[users == user]
        for place, k in enumerate(KS):
            found = own <= k
            expected = [found.mean(), np.where(found, 1 / np.log2(own + 1), 0).mean()]
            np.testing.assert_allclose(values[at, :, place], expected, atol=1e-12)


ROWS = arrays(np.float64, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(-100, 100, width=16))


@given(ROWS, st.lists(st.integers(0, 30), max_size=4), st.randoms())
def test_moments_of_parts_in_any_order_are_those_of_the_whole(rows, cuts, random):
    parts = np.split(rows, sorted(cuts))
    random.shuffle(parts)
    found = sum((Moments.of(part) for part in parts), Moments.of(rows[:0]))
    whole = Moments.of(rows)
    assert found.n == whole.n == len(rows)
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(found.deviations, whole.deviations, rtol=1e-9, atol=1e-6)
    if len(rows) > 1:
        np.testing.assert_allclose(whole.mean, rows.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(whole.variance, rows.var(axis=0, ddof=1), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_the_t_test_is_the_paired_one_of_scipy(seed, n):
    rng = np.random.default_rng(seed)
    before, after = rng.random((2, n, 4))
    t, p = Moments.of(after - before).t_test()
    expected = stats.ttest_rel(after, before)
    np.testing.assert_allclose(t, expected.statistic, rtol=1e-9)
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-9)


def test_rows_that_do_not_vary_have_no_t():
    for rows in (np.zeros((9, 1)), np.full((9, 1), 0.1), np.ones((1, 1)), np.zeros((0, 1))):
        assert np.isnan(Moments.of(rows).t_test()).all()


def test_no_lift_in_per_cent_over_a_value_near_nothing():
    assert lift(0.06, 0.05) == pytest.approx(0.2) and lift(0.006, 0.005) == pytest.approx(0.2)
    assert lift(0.0046, 0.0049) is lift(0.01, 0.0) is None
