"""What an augmentation does to the training log: whom and what it adds to, beside what was observed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.evaluation.categories import Categories, read_categories
from longtail.evaluation.list_bias import ITEM_GROUPS, average_popularity, coverage, shares
from longtail.evaluation.list_parts import entries_between
from longtail.evaluation.slices import USER_SLICES, read_item_slices, read_user_slices
from longtail.workspace.place import Place

USER_GROUPS = tuple(f"users:{name}" for name in USER_SLICES)
Pairs = tuple[np.ndarray, np.ndarray]
"""Users and items of interactions, int [n] each."""


class Groups:
    """What parts of a training set are described by: popularity, slices and categories. Only for Ray tasks."""

    def __init__(self, data: Place) -> None:
        self.train_count = (data / "items.parquet").read_table(["train_count"])["train_count"].to_numpy()
        self.item_slices, self.user_slices = read_item_slices(data), read_user_slices(data)
        self.categories: Categories | None = read_categories(data)

    def describe(self, items: np.ndarray, users: np.ndarray) -> dict[str, Any]:
        """A part that has so many interactions of each item [items] and of each user slice [len(USER_GROUPS)].

        popularity: mean number of training interactions of its items; coverage: share of the catalogue that it holds;
        shares: of its interactions, by item slice, user slice and category. Null, or empty, where it has none.
        """
        if not items.sum():
            return {"interactions": 0, "popularity": None, "coverage": 0.0, "shares": {}}
        found = shares(items, self.item_slices, ITEM_GROUPS)
        found |= shares(users, np.arange(len(USER_GROUPS)), USER_GROUPS)
        if self.categories:
            found |= shares(items, self.categories.codes, self.categories.names)
        return {
            "interactions": int(items.sum()),
            "popularity": average_popularity(items, self.train_count),
            "coverage": coverage(items),
            "shares": found,
        }


def measure_training_set(fused: Place, data: Place) -> dict[str, Any]:
    """One published training set, `parts` as `Groups.describe` has them, `reached` the share of users that got something.

    Parts: `observed`; `left_out` of it, where something weighs 0; `added`; `after`, all that counts in the end; where
    the set has preferences, `preferred` and `rejected`. An interaction counts once, whatever it weighs. Meant for a Ray
    task: it holds a file of the set and a number a user.
    """
    groups = Groups(data)
    n_items, n_users = len(groups.train_count), len(groups.user_slices)
    items: dict[str, np.ndarray] = {}
    users: dict[str, np.ndarray] = {}
    reached = np.zeros(n_users, bool)
    for part, (own_users, own_items) in _parts(fused):
        items[part] = items.get(part, 0) + np.bincount(own_items, minlength=n_items)
        of_slice = np.bincount(groups.user_slices[own_users], minlength=len(USER_GROUPS))
        users[part] = users.get(part, 0) + of_slice
        if part in ("added", "preferred"):
            reached[own_users] = True
    for counts in (items, users):
        counts["after"] = counts["observed"] - counts["left_out"] + counts["added"]
    empty = {"left_out"} if not items["left_out"].any() else set()
    return {
        "parts": {name: groups.describe(items[name], users[name]) for name in items if name not in empty},
        "reached": {"all": float(reached.mean())}
        | {
            group: float(reached[groups.user_slices == code].mean())
            for code, group in enumerate(USER_GROUPS)
            if (groups.user_slices == code).any()
        },
    }


def _parts(fused: Place) -> Iterator[tuple[str, Pairs]]:
    for file in (fused / "interactions").files(".parquet"):
        table = file.read_table(["user", "items", "weights", "observed"])
        lists, weights = (table[name].combine_chunks() for name in ("items", "weights"))
        ends, starts = table["observed"].to_numpy(), np.zeros(len(table), int)
        rows, observed = entries_between(lists, starts, ends)
        left_out = entries_between(weights, starts, ends)[1] == 0
        users = table["user"].to_numpy()
        yield "observed", (users[rows], observed)
        yield "left_out", (users[rows[left_out]], observed[left_out])
        rows, added = entries_between(lists, ends)
        yield "added", (users[rows], added)
    for file in (fused / "preferences").files(".parquet"):
        table: pa.Table = file.read_table(["user", "preferred", "rejected"])
        for part in ("preferred", "rejected"):
            yield part, (table["user"].to_numpy(), table[part].to_numpy())
