"""Bias figures equal their definitions and their known extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from longtail.evaluation.categories import OTHERS, Categories
from longtail.evaluation.list_bias import average_popularity, count_exposure, coverage, gini, measure_bias

EXPOSURES = arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 100)).filter(lambda x: x.sum() > 0)


@given(EXPOSURES)
def test_gini_is_half_the_mean_difference_over_the_mean(exposure):
    differences = np.abs(exposure[:, None] - exposure[None, :]).mean()
    assert gini(exposure) == pytest.approx(differences / (2 * exposure.mean()), abs=1e-12)


@given(EXPOSURES, st.integers(1, 9))
def test_bias_does_not_depend_on_the_number_of_lists(exposure, times):
    train_count, slices = np.arange(len(exposure)), np.zeros(len(exposure), int)
    once, often = (measure_bias(shown, train_count, slices) for shown in (exposure, exposure * times))
    assert once == pytest.approx(often)


def test_categories_share_all_places_among_them():
    found = Categories("kind", ("category:a", "category:b", OTHERS), np.array([0, 1, 1, 2]))
    bias = measure_bias(np.array([5, 1, 2, 2]), np.ones(4, int), np.zeros(4, int), found)
    assert [bias["exposure", name] for name in found.names] == pytest.approx([0.5, 0.3, 0.2])


def test_extremes():
    assert gini(np.full(8, 3)) == 0
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(1 - 1 / 4)
    assert coverage(np.array([0, 0, 0, 9])) == 0.25
    assert measure_bias(np.zeros(4, int), np.ones(4, int), np.zeros(4, int)) == {}


def test_only_ten_places_count_and_empty_ones_do_not():
    lists = np.array([[*range(12)], [0, 1, *[-1] * 10]])
    assert count_exposure(lists, 13).tolist() == [2, 2, *[1] * 8, 0, 0, 0]


def test_popularity_and_shares():
    exposure, train_count = np.array([3, 1, 0, 1]), np.array([10, 5, 4, 0])
    assert average_popularity(exposure, train_count) == (30 + 5) / 5
    found = measure_bias(exposure, train_count, np.array([0, 1, 2, 3]))
    shares = [found["exposure", f"items:{name}"] for name in ("head", "mid", "tail", "cold")]
    assert shares == [0.6, 0.2, 0.0, 0.2]
