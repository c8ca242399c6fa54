"""Precision of generated interactions in the simulated store, the only data for which every user's taste is known."""

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow.dataset as ds

from longtail.arrays import entries_between
from longtail.data.simulation import liked
from longtail.evaluation.significance import share_interval
from longtail.workspace.place import Place

PAIRS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Precision:
    """The share of a variant's `n` generated interactions that the user truly likes, with its 95 % interval."""

    value: float
    n: int
    ci_low: float
    ci_high: float


def precision(fused: Place, data: Place, resamples: int, seed: int) -> dict[str, float] | None:
    """The `Precision` of a variant as a dict. None if it has no generated interaction.

    fused: a published variant; data: the prepared simulated store with its `truth/`. The bootstrap draws users, because
    the interactions of one user are not independent of each other. Meant for a Ray task: it holds all tastes.
    """
    user_taste = read_taste(data / "truth/users", "user")
    item_taste = read_taste(data / "truth/items.parquet", "item")
    users, items = read_generated(fused)
    if not len(users):
        return None
    right = np.concatenate(
        [
            liked(
                user_taste[users[start : start + PAIRS_AT_ONCE]],
                item_taste[items[start : start + PAIRS_AT_ONCE]],
            )
            for start in range(0, len(users), PAIRS_AT_ONCE)
        ]
    )
    _, row, generated = np.unique(users, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    value, low, high = share_interval(np.bincount(row, weights=right), generated, resamples, rng)
    return asdict(Precision(value, len(users), low, high))


def read_taste(place: Place, key: str) -> np.ndarray:
    """The tastes of users or items: float32 [rows, tastes]. Row i is that of the user or item with code i in column
    `key`.
    """
    table = place.read_table().sort_by(key)
    return table["taste"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def read_generated(fused: Place) -> tuple[np.ndarray, np.ndarray]:
    """The generated interactions of a variant, those after each user's `observed` ones: users int32 [n], items int32
    [n].
    """
    folder = fused / "interactions"
    table = ds.dataset(folder.path, filesystem=folder.fs).to_table(columns=["user", "items", "observed"])
    rows, items = entries_between(table["items"].combine_chunks(), table["observed"].to_numpy())
    return table["user"].to_numpy()[rows], items
