"""Bias of all recommended lists together: how much of the catalogue they show, and how evenly."""

from collections.abc import Sequence

import numpy as np

from longtail.evaluation.categories import Categories
from longtail.evaluation.slices import ITEM_SLICES

ITEM_GROUPS = tuple(f"items:{name}" for name in ITEM_SLICES)

EXPOSURE_K = 10
"""The number of places of every list, from the first, on which bias is measured."""


def count_exposure(lists: np.ndarray, n_items: int) -> np.ndarray:
    """How often each item stands in the first `EXPOSURE_K` places of a list: int64 [items].

    lists int [users, k], best first; -1 marks a place without an item.
    """
    shown = lists[:, :EXPOSURE_K]
    return np.bincount(shown[shown >= 0], minlength=n_items)


def coverage(exposure: np.ndarray) -> float:
    """The share of the catalogue that at least one list shows, in 0..1; exposure int [items]."""
    return float((exposure > 0).mean())


def gini(exposure: np.ndarray) -> float:
    """The Gini index of exposure int [items]: 0 if all items are shown equally often, near 1 if only a few are shown.

    G = sum_i (2 i - n - 1) x_i / (n sum_i x_i), x ascending, i = 1 .. n. At least one item must be shown.
    """
    ascending = np.sort(exposure)
    n = len(ascending)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * ascending.sum()))


def average_popularity(exposure: np.ndarray, train_count: np.ndarray) -> float:
    """The mean number of training interactions of a recommended item; exposure and train_count int [items]."""
    return float(exposure @ train_count.astype(np.int64) / exposure.sum())


def shares(counts: np.ndarray, groups: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The share of the sum of `counts` int [n] that each group has, by its name; groups int [n]: indices in `names`.

    At least one count must be above 0.
    """
    sums = np.bincount(groups, weights=counts, minlength=len(names)) / counts.sum()
    return {name: float(share) for name, share in zip(names, sums, strict=True)}


def measure_bias(
    exposure: np.ndarray,
    train_count: np.ndarray,
    item_slices: np.ndarray,
    categories: Categories | None = None,
) -> dict[tuple[str, str], float]:
    """Every bias figure of one recommender, by (metric, slice); arrays [items]. Empty if no list shows an item.

    The metric `exposure` is the share of all places that the items of a slice or of a category take.
    """
    if not exposure.sum():
        return {}
    exposed = shares(exposure, item_slices, ITEM_GROUPS)
    if categories:
        exposed |= shares(exposure, categories.codes, categories.names)
    return {
        ("coverage", "all"): coverage(exposure),
        ("gini", "all"): gini(exposure),
        ("popularity", "all"): average_popularity(exposure, train_count),
    } | {("exposure", name): share for name, share in exposed.items()}
