"""What every lift is held against: as many interactions per user without an LLM, at random, by popularity, from ItemCF."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from app.data import read_histories
from app.recipe import ItemCF as ItemCFSection
from app.recommenders.base import Interactions
from app.recommenders.itemcf import ItemCF
from app.schema import FUSED
from app.workspace import Place

Pick = Callable[[int, np.ndarray, np.ndarray, int], np.ndarray]
"""(user, history, held-out items, how many) -> items outside both."""


def observed_itemcf(data: Place, n_items: int) -> ItemCF:
    """An ItemCF fitted on the observed training log; runs in a Ray task."""
    histories = read_histories(data)
    rows = zip(
        histories["user"].to_pylist(),
        histories["items"].to_pylist(),
        histories["train_end"].to_pylist(),
        strict=True,
    )
    table = pa.Table.from_pylist(
        [
            {"user": user, "items": items[:end], "weights": [1.0] * end, "observed": end}
            for user, items, end in rows
        ],
        FUSED,
    )
    return ItemCF(ItemCFSection()).fit(Interactions.from_table(table, n_items))


def at_random(seed: int, n_items: int) -> Pick:
    """Uniform over the catalogue, new items included."""
    return _drawn(seed, np.ones(n_items))


def by_popularity(seed: int, train_counts: np.ndarray) -> Pick:
    """In proportion to the training count."""
    return _drawn(seed, train_counts.astype(np.float64))


def by_itemcf(model: ItemCF) -> Pick:
    """ItemCF's own best items for the user; the strongest control, and a part of the judge's blend."""

    def pick(user: int, history: np.ndarray, held_out: np.ndarray, count: int) -> np.ndarray:
        found = model.recommend_history([history], count + len(held_out))[0][0]
        return found[(found >= 0) & ~np.isin(found, held_out)][:count]

    return pick


def _drawn(seed: int, weights: np.ndarray) -> Pick:
    def pick(user: int, history: np.ndarray, held_out: np.ndarray, count: int) -> np.ndarray:
        rng = np.random.default_rng((seed, user))
        free = weights.copy()
        free[history], free[held_out] = 0.0, 0.0
        count = min(count, int((free > 0).sum()))
        return (
            rng.choice(len(free), size=count, replace=False, p=free / free.sum())
            if count
            else np.empty(0, np.int64)
        )

    return pick
