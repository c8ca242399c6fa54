"""The interval is the bootstrap's, and covers the truth as often as it says."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longtail.evaluation import significance
from longtail.evaluation.significance import (
    benjamini_hochberg,
    paired_interval,
    resampled_means,
    share_interval,
)


def test_equals_drawing_users_one_by_one_under_the_same_resamples():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 2)) * (rng.random((40, 1)) < 0.6)
    found = resampled_means(values, 50, np.random.default_rng(11))

    moved = np.flatnonzero((values != 0).any(axis=1))
    still = np.flatnonzero((values == 0).all(axis=1))
    chances = [1 / 40] * len(moved) + [1 - len(moved) / 40]
    expected = []
    for counts in np.random.default_rng(11).multinomial(40, chances, size=50):
        sample = [user for user, count in zip(moved, counts[:-1], strict=True) for _ in range(count)]
        sample += [still[0]] * counts[-1]
        assert len(sample) == 40
        expected.append(np.mean([values[user] for user in sample], axis=0))
    np.testing.assert_allclose(found, expected, atol=1e-12)

    low, high = paired_interval(values, 50, np.random.default_rng(11))
    np.testing.assert_allclose(low, np.quantile(expected, 0.025, axis=0))
    np.testing.assert_allclose(high, np.quantile(expected, 0.975, axis=0))


def test_the_block_size_changes_nothing(monkeypatch):
    values = np.random.default_rng(0).normal(size=(30, 1))
    whole = resampled_means(values, 17, np.random.default_rng(5))
    monkeypatch.setattr(significance, "DRAWS_AT_ONCE", 90)
    np.testing.assert_allclose(resampled_means(values, 17, np.random.default_rng(5)), whole, atol=1e-12)


@pytest.mark.parametrize("users", [60, 400])
def test_covers_the_true_mean_about_as_often_as_it_says(users):
    # Differences of hits: most users unmoved, some gained, some lost.
    rng = np.random.default_rng(users)
    chances, truth = [0.1, 0.7, 0.2], 0.1
    covered = 0
    for _ in range(300):
        differences = rng.choice([-1.0, 0.0, 1.0], size=(users, 1), p=chances)
        low, high = paired_interval(differences, 400, rng)
        covered += low[0] <= truth <= high[0]
    assert 0.90 <= covered / 300 <= 0.985


def test_no_user_moved_gives_a_point():
    low, high = paired_interval(np.zeros((5, 1)), 20, np.random.default_rng(0))
    assert low == high == 0


def test_users_that_did_not_move_need_not_be_given():
    values = np.random.default_rng(1).normal(size=(30, 2)) * (np.arange(30) % 3 == 0)[:, None]
    whole = resampled_means(values, 40, np.random.default_rng(5))
    moved = resampled_means(values[::3], 40, np.random.default_rng(5), n=30)
    np.testing.assert_array_equal(moved, whole)


def test_everybody_moved_alike_gives_a_point():
    low, high = paired_interval(np.full((7, 1), 0.25), 20, np.random.default_rng(0))
    np.testing.assert_allclose([low, high], 0.25)


def test_a_share_keeps_the_cases_of_a_user_together():
    # Ten users with ten cases each, all right or all wrong: as unsure as ten cases, not as a hundred.
    parts, wholes = np.repeat([0, 10], 5), np.full(10, 10)
    share, low, high = share_interval(parts, wholes, 2000, np.random.default_rng(1))
    assert share == 0.5
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 10), rel=0.15)


def test_discoveries_by_hand():
    found = benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.02, 0.04, 0.04, 0.02])
    assert benjamini_hochberg(np.zeros(0)).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_discoveries_step_up(p):
    """As their paper says it: the largest j whose j-th smallest p is at most .05 j / n, and all that are smaller."""
    p = np.array(p)
    order = np.argsort(p, kind="stable")
    bounds = p[order] * len(p) / np.arange(1, len(p) + 1)
    assume((abs(bounds - 0.05) > 1e-12).all())  # on the bound itself, rounding decides
    steps = np.flatnonzero(bounds <= 0.05) + 1
    found = benjamini_hochberg(p)
    assert np.flatnonzero(found <= 0.05).tolist() == sorted(order[: max(steps, default=0)].tolist())
    assert (found >= p).all() and (found <= 1).all()
