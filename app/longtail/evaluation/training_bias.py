"""Bias of a training set: which users and items the added interactions belong to, compared with the observed ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.arrays import entries_between
from longtail.evaluation.categories import Categories, read_categories
from longtail.evaluation.list_bias import ITEM_GROUPS, average_popularity, coverage, shares
from longtail.evaluation.slices import USER_SLICES, read_item_slices, read_user_slices
from longtail.workspace import read_manifest
from longtail.workspace.place import Place

USER_GROUPS = tuple(f"users:{name}" for name in USER_SLICES)
Pairs = tuple[np.ndarray, np.ndarray]
"""Users and items of interactions, int [n] each."""


class Groups:
    """Popularity, slices and categories of all items and users, by which parts of a training set are described.

    Only for Ray tasks: it holds some numbers for every item and user.
    """

    def __init__(self, data: Place) -> None:
        self.train_count = (data / "items.parquet").read_table(["train_count"])["train_count"].to_numpy()
        self.item_slices, self.user_slices = read_item_slices(data), read_user_slices(data)
        self.categories: Categories | None = read_categories(data)

    def describe(self, items: np.ndarray, users: np.ndarray) -> dict[str, Any]:
        """Describe a part by its number of interactions of each item: items int [items], users int [len(USER_GROUPS)].

        `users` counts them by user slice. interactions: their number; popularity: the mean number of training
        interactions of their items, None if there are none; coverage: the share of the catalogue among their items;
        shares: the share of the interactions in each item slice, user slice and category, empty if there are none.
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
    """Describe one published training set: its `parts`, each by `Groups.describe`, and `reached`.

    Parts: `observed`; `left_out`, the observed interactions of weight 0, if there are any; `added`; `after`, which is
    observed - left_out + added; `preferred` and `rejected`, if the set has preferences. An interaction counts once,
    whatever its weight. `reached`: the share of users, of all and of each user slice, who have an added interaction or
    a preference. `short`, of a control: for each item slice, how many items it lacks for the amounts of the LLM. Meant
    for a Ray task: it holds one file of the set and one number per user.
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
    short = (read_manifest(fused) or {"counts": {}})["counts"].get("short")
    empty = {"left_out"} if not items["left_out"].any() else set()
    return {
        "parts": {name: groups.describe(items[name], users[name]) for name in items if name not in empty},
        "reached": {"all": float(reached.mean())}
        | {
            group: float(reached[groups.user_slices == code].mean())
            for code, group in enumerate(USER_GROUPS)
            if (groups.user_slices == code).any()
        },
    } | ({} if short is None else {"short": short})


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
