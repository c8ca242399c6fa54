"""The interval over users and pairs is that of its formula, and covers the truth as often as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from longtail.evaluation.crossed import Crossed

TABLES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(1, 4)),
    elements=st.integers(-4, 4).map(lambda number: number / 4),
)
"""Values [users, pairs] of differences of metrics."""


def by_hand(table):
    """The error and the share of pairs in its square, from the mean squares of the two-way layout, cell by cell."""
    n, m = table.shape
    mean, of_users, of_pairs = table.mean(), table.mean(axis=1), table.mean(axis=0)
    users = m * sum((own - mean) ** 2 for own in of_users) / (n - 1)
    if m == 1:
        return np.sqrt(users / n), 0.0
    pairs = n * sum((own - mean) ** 2 for own in of_pairs) / (m - 1)
    rest = sum((table[i, j] - of_users[i] - of_pairs[j] + mean) ** 2 for i in range(n) for j in range(m)) / (
        (n - 1) * (m - 1)
    )
    total = pairs + max(users - rest, 0)
    return np.sqrt(total / (n * m)), pairs / total if total else 0.0


@given(TABLES)
def test_is_the_formula_of_the_two_way_layout(table):
    (n, m), mean, (error, share) = table.shape, table.mean(), by_hand(table)
    crossed = Crossed.of(table)
    assert crossed.mean == pytest.approx(mean)
    assert crossed.error()[0] == pytest.approx(error, abs=1e-7)
    if error < 1e-6:
        return

    def quantile(tail):
        return sum(part * stats.t.isf(tail, df) for part, df in ((share, max(m - 1, 1)), (1 - share, n - 1)))

    low, high = crossed.interval()
    assert (low, high) == pytest.approx((mean - quantile(0.025) * error, mean + quantile(0.025) * error))
    t, p = crossed.t_test()
    assert t == pytest.approx(mean / error)
    assert quantile(p / 2) == pytest.approx(abs(t), abs=1e-9)
    assert (p < 0.05) == (low > 0 or high < 0) or p == pytest.approx(0.05)


@given(TABLES, st.randoms())
def test_parts_add_up_in_any_order(table, random):
    rows = list(range(len(table)))
    random.shuffle(rows)
    cut = random.randint(0, len(rows))
    parts = [Crossed.of(table[sorted(own)]) for own in (rows[:cut], rows[cut:])]
    np.testing.assert_allclose((parts[0] + parts[1]).error()[0], Crossed.of(table).error()[0], atol=1e-7)


@given(TABLES)
def test_pairs_that_agree_are_one_pair(table):
    """Nothing is gained by a second fit that says the same: the test is the paired t-test over users."""
    once, twice = (Crossed.of(np.repeat(table[:, :1], pairs, axis=1)) for pairs in (1, 3))
    np.testing.assert_allclose(twice.error(), once.error(), atol=1e-7)
    if table[:, 0].std() > 0:
        expected = stats.ttest_1samp(table[:, 0], 0)
        assert once.t_test() == pytest.approx((expected.statistic, expected.pvalue))


def test_users_that_agree_leave_the_t_test_over_pairs():
    table = np.tile([0.02, 0.05, 0.03], (500, 1))
    expected = stats.ttest_1samp([0.02, 0.05, 0.03], 0)
    assert Crossed.of(table).t_test() == pytest.approx((expected.statistic, expected.pvalue))


def test_what_does_not_vary_has_no_t_and_one_user_no_interval():
    t, p = Crossed.of(np.full((5, 3), 0.25)).t_test()
    assert np.isnan(t) and np.isnan(p)
    low, high = Crossed.of(np.full((5, 3), 0.25)).interval()
    assert low == high == 0.25
    assert np.isnan(Crossed.of(np.array([[0.1, 0.2, 0.3]])).interval()).all()


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 3.0])
def test_covers_the_truth_of_other_users_and_fits_about_as_often_as_it_says(spread):
    """Differences of hits of 2,000 users with 3 pairs: most users unmoved, some gained, some lost.

    spread: the deviation of a pair's true mean, in standard errors of users. Half of the moves are the same with every
    pair. 2,000 tables each, so the share is known to .005; it is .95 to .975, so rather too wide than too narrow.
    """
    rng = np.random.default_rng(7)
    users, pairs, tables, at_once = 2000, 3, 2000, 250
    gain, loss = 0.08, 0.06
    error = np.sqrt((gain + loss - (gain - loss) ** 2) / users)
    covered = 0
    for _ in range(tables // at_once):
        chances = gain + rng.normal(0, spread * error, (1, pairs, at_once))
        shared = rng.random((users, 1, at_once), np.float32)
        draws = np.where(
            rng.random((users, 1, at_once), np.float32) < 0.5,
            shared,
            rng.random((users, pairs, at_once), np.float32),
        )
        low, high = Crossed.of((draws < chances) - (draws > 1 - loss).astype(np.float64)).interval()
        covered += int(((low <= gain - loss) & (gain - loss <= high)).sum())
    assert 0.935 <= covered / tables <= 0.985
