"""Slices of the test: the targets, and so the users, from which a figure is computed.

`all` has every target. `items:tail` has the targets that are long-tail items, and only the users with such a target.
`users:sparse` has the users with short histories.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.dataset as ds

from longtail.data.catalogue import SLICES as ITEM_SLICES
from longtail.data.catalogue import slice_codes
from longtail.data.histories import ACTIVE, REGULAR, SPARSE
from longtail.workspace.place import Place

USER_SLICES = (SPARSE, REGULAR, ACTIVE)
SLICE_NAMES = (
    "all",
    *(f"items:{name}" for name in ITEM_SLICES),
    *(f"users:{name}" for name in USER_SLICES),
)

ENOUGH_TARGETS = 100
"""A slice with fewer targets is greyed in tables and plots, and no headline speaks of it."""


def slice_named(part: str) -> str:
    """The full name, one of SLICE_NAMES, of a slice that a recipe calls by its last part: `tail` is `items:tail`."""
    return next(name for name in SLICE_NAMES if name.rpartition(":")[2] == part)


def read_item_slices(data: Place) -> np.ndarray:
    """The slice of each item of the catalogue, as index in `ITEM_SLICES`: int32 [items]."""
    return slice_codes((data / "items.parquet").read_table(["slice"])["slice"])


def read_user_slices(data: Place) -> np.ndarray:
    """The slice of each user, as index in `USER_SLICES`: int32 [users]."""
    histories = data / "histories"
    table = ds.dataset(histories.path, filesystem=histories.fs).to_table(columns=["user", "slice"])
    codes = np.empty(len(table), np.int32)
    codes[table["user"].to_numpy()] = slice_codes(table["slice"], USER_SLICES)
    return codes


def members(name: str, data: Place) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that tells which targets are in slice `name`, one of SLICE_NAMES.

    It takes the users int [targets] and items int [targets] of the targets, and returns bool [targets].
    """
    kind, _, part = name.partition(":")
    if kind == "items":
        chosen_items = read_item_slices(data) == ITEM_SLICES.index(part)
        return lambda users, items: chosen_items[items]
    if kind == "users":
        chosen_users = read_user_slices(data) == USER_SLICES.index(part)
        return lambda users, items: chosen_users[users]
    return lambda users, items: np.ones(len(users), bool)


@dataclass(frozen=True)
class Membership:
    """Which targets are in which of some slices: those whose user and whose item are.

    names: as a recipe calls the slices, see `slice_named`. users bool [users, slices], items bool [items, slices].
    """

    names: tuple[str, ...]
    users: np.ndarray
    items: np.ndarray

    @classmethod
    def read(cls, names: Sequence[str], data: Place) -> "Membership":
        """Only for Ray tasks: it holds a row for each user."""
        kinds = [slice_named(name).partition(":")[0] for name in names]
        of_users, of_items = read_user_slices(data), read_item_slices(data)
        users, items = (np.ones((len(codes), len(names)), bool) for codes in (of_users, of_items))
        for column, (kind, name) in enumerate(zip(kinds, names, strict=True)):
            if kind == "users":
                users[:, column] = of_users == USER_SLICES.index(name)
            if kind == "items":
                items[:, column] = of_items == ITEM_SLICES.index(name)
        return cls(tuple(names), users, items)

    def of(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Of the targets of users int [targets], the items int [targets]: bool [targets, slices]."""
        return self.users[users] & self.items[items]
