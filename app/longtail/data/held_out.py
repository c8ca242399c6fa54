"""The held-out items of all users as pairs of user and item. Only for Ray tasks, because a pair takes 8 bytes."""

import numpy as np

from longtail.arrays import entries_between
from longtail.workspace.place import Place


def read_held_out(data: Place) -> np.ndarray:
    """The `pairs_of` users and their items after the training part, in a published `data/`: int64 [targets], ascending."""
    pairs = [np.zeros(0, np.int64)]
    for file in (data / "histories").files(".parquet"):
        table = file.read_table(["user", "items", "train_end"])
        rows, items = entries_between(table["items"].combine_chunks(), table["train_end"].to_numpy())
        pairs.append(pairs_of(table["user"].to_numpy()[rows], items))
    return np.unique(np.concatenate(pairs))


def pairs_of(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """One number for each pair of a user and an item, user << 32 | item: int64 [n]."""
    return users.astype(np.int64) << 32 | items.astype(np.int64)
