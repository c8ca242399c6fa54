"""Read a pandas, polars or Arrow table of interactions as the training set of a recommender."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.api.raw_ids import RawIds, coded, refuse_missing
from longtail.arrays import offsets_of
from longtail.data.arrow_types import plain
from longtail.data.columns import as_ratings
from longtail.data.times import as_times
from longtail.errors import InputError
from longtail.recommenders.interactions import Interactions

USUAL = {
    "user": ("user", "user_id"),
    "item": ("item", "item_id"),
    "timestamp": ("timestamp", "time"),
    "weight": ("weight",),
}
"""The default names of each column."""
TABLE = "interactions"
"""The name of the table in messages."""


@dataclass(frozen=True)
class InteractionTable:
    """The training set, the raw ids of its codes, and the name of the item column in the table."""

    train: Interactions
    users: RawIds
    items: RawIds
    item_column: str


def read_interactions(table: Any, named: dict[str, str | None]) -> InteractionTable:
    """Read a pandas or polars data frame or an Arrow table with one row per interaction.

    named: from a key of USUAL to the name of a column, None for the default names. Without timestamps, the rows of a user
    must be in order of time. Without weights, each row has weight 1. If a user has several rows with one item, the first in
    time is kept, as with `dataset.repeats: first` in a recipe. Raises InputError for another type of table, a missing
    column, a missing value, or a value that is not a time or not a weight.
    """
    names = _columns_of(table)
    found = {key: _find(key, named.get(key), names) for key in USUAL}
    users, user_codes = coded(_column(table, found["user"]), found["user"])
    items, item_codes = coded(_column(table, found["item"]), found["item"])
    if not len(user_codes):
        raise InputError(f"{TABLE}: the table is empty. Give one with at least one row.")
    order = np.argsort(user_codes, kind="stable")
    if found["timestamp"]:
        time, beyond = _times(table, found["timestamp"])
        order = np.lexsort((beyond, time, user_codes))
    pairs = user_codes[order].astype(np.int64) * len(items) + item_codes[order]
    order = order[np.sort(np.unique(pairs, return_index=True)[1])]
    weights = _weights(table, found["weight"])[order] if found["weight"] else np.ones(len(order), np.float32)
    lengths = np.bincount(user_codes[order], minlength=len(users))
    train = Interactions(
        indptr=offsets_of(lengths),
        items=item_codes[order].astype(np.int32),
        weights=weights,
        observed=lengths,
        n_items=len(items),
    )
    return InteractionTable(train, users, items, found["item"])


def _columns_of(table: Any) -> list[str]:
    """The names of the columns. Raises InputError if the value is not a table."""
    if isinstance(table, pa.Table):
        return table.column_names
    if _library(table) in ("pandas", "polars") and type(table).__name__ == "DataFrame":
        return list(table.columns)
    more = " Call collect() first." if type(table).__name__ == "LazyFrame" else ""
    raise InputError(
        f"{TABLE}: a {type(table).__name__} is no table. Give a pandas or polars DataFrame, or an Arrow Table.{more}"
    )


def _find(key: str, named: str | None, names: list[str]) -> str | None:
    """The name of the column for `key`. None if the column is optional, was not named, and the table has none of its default
    names. Raises InputError if it is missing or not unique.
    """
    present = [name for name in ([named] if named else USUAL[key]) if name in names]
    if len(present) == 1 and names.count(present[0]) == 1:
        return present[0]
    if present:
        fix = (
            "Rename all but one" if names.count(present[0]) > 1 else f"Name one: fit(…, {key}={present[0]!r})"
        )
        raise InputError(f"{TABLE}: several columns may be the {key}: {', '.join(present)}. {fix}.")
    if not named and key in ("timestamp", "weight"):
        return None
    wanted = repr(named) if named else " or ".join(map(repr, USUAL[key]))
    raise InputError(
        f"{TABLE}: no column {wanted}, but {', '.join(map(str, names)) or 'none'}. Give the name of the {key} column:"
        f" fit(…, {key}='…')."
    )


def _column(table: Any, name: str) -> pa.ChunkedArray | list[Any]:
    """A column in Arrow, or as a list of Python values if Arrow would change them."""
    if isinstance(table, pa.Table):
        return table[name]
    column = table[name]
    if _library(table) == "polars":
        return column.to_list() if str(column.dtype) == "Object" else pa.chunked_array([column.to_arrow()])
    import pandas as pd

    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) != "string":
        return column.tolist()
    try:
        found = pa.Array.from_pandas(column)
    except (
        pa.ArrowException,
        TypeError,
        ValueError,
    ):  # text with a lone surrogate, or a type that Arrow does not have
        return column.tolist()
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _arrow(table: Any, name: str) -> pa.ChunkedArray:
    """A column of times or weights, decoded from dictionaries and views. Raises InputError if a value is missing."""
    column = _column(table, name)
    if isinstance(column, list):
        try:
            column = pa.chunked_array([pa.array(column, from_pandas=True)])
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{TABLE}: column {name!r} holds values of several types: {error}.") from None
    column = plain(column, name, TABLE, 0)
    refuse_missing(column.is_null(nan_is_null=True).to_numpy(), name)
    return column


def _times(table: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Times int64 [rows], and the billionths of those that are numbers, int32 [rows]."""
    time, fraction, _ = as_times(_arrow(table, name), name, TABLE, 0).columns
    if 0 < fraction.null_count < len(fraction):
        raise InputError(f"{TABLE}: {name!r} has dates and numbers. Write all as one of them.")
    return time.to_numpy(), fraction.fill_null(0).to_numpy()


def _weights(table: Any, name: str) -> np.ndarray:
    weights = as_ratings(_arrow(table, name), name, TABLE, 0).to_numpy()
    wrong = np.flatnonzero(weights < 0)
    if len(wrong):
        raise InputError(
            f"{TABLE}, row {wrong[0] + 1}: {name} = {weights[wrong[0]]:g} is negative. A weight is 0 or more."
        )
    return weights


def _library(table: Any) -> str:
    return type(table).__module__.partition(".")[0]
