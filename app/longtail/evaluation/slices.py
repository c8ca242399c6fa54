"""Slices of the test: which targets, and so which users, a figure is about.

`all` is everything. `items:tail` keeps the targets that are long-tail items, and only the users who have one;
`users:sparse` keeps the users with short histories.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from longtail.data.catalogue import SLICES as ITEM_SLICES
from longtail.data.histories import ACTIVE, REGULAR, SPARSE
from longtail.workspace.place import Place

USER_SLICES = (SPARSE, REGULAR, ACTIVE)
SLICE_NAMES = (
    "all",
    *(f"items:{name}" for name in ITEM_SLICES),
    *(f"users:{name}" for name in USER_SLICES),
)


def slice_named(part: str) -> str:
    """The one of SLICE_NAMES that a recipe calls by its last part alone: `tail` is `items:tail`."""
    return next(name for name in SLICE_NAMES if name.rpartition(":")[2] == part)


def read_item_slices(data: Place) -> np.ndarray:
    """Of each item of the catalogue the place of its slice in `ITEM_SLICES`: int32 [items]."""
    return _codes((data / "items.parquet").read_table(["slice"])["slice"], ITEM_SLICES)


def read_user_slices(data: Place) -> np.ndarray:
    """Of each user the place of the slice in `USER_SLICES`: int32 [users]."""
    histories = data / "histories"
    table = ds.dataset(histories.path, filesystem=histories.fs).to_table(columns=["user", "slice"])
    codes = np.empty(len(table), np.int32)
    codes[table["user"].to_numpy()] = _codes(table["slice"], USER_SLICES)
    return codes


def members(name: str, data: Place) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function that tells which targets are in slice `name`, one of SLICE_NAMES.

    It takes users and items int [rows], a target each, and answers bool [rows].
    """
    kind, _, part = name.partition(":")
    if kind == "items":
        chosen_items = read_item_slices(data) == ITEM_SLICES.index(part)
        return lambda users, items: chosen_items[items]
    if kind == "users":
        chosen_users = read_user_slices(data) == USER_SLICES.index(part)
        return lambda users, items: chosen_users[users]
    return lambda users, items: np.ones(len(users), bool)


def _codes(names: pa.ChunkedArray, known: tuple[str, ...]) -> np.ndarray:
    codes = pc.index_in(names, value_set=pa.array(known))
    if codes.null_count:
        strange = pc.unique(names.filter(pc.is_null(codes))).to_pylist()
        raise ValueError(f"slices {strange} are none of {list(known)}")
    return codes.to_numpy()
