"""A table of interactions from pandas, polars or Arrow to the training set of a recommender."""

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
"""What a column is called if nobody says it."""
TABLE = "interactions"
"""What a message calls the table."""


@dataclass(frozen=True)
class InteractionTable:
    """The training set, the ids behind its codes, and what the table calls the column of items."""

    train: Interactions
    users: RawIds
    items: RawIds
    item_column: str


def read_interactions(table: Any, named: dict[str, str | None]) -> InteractionTable:
    """From a pandas or polars data frame or an Arrow table, one row an interaction.

    named: by key of USUAL the name of a column, None for the usual one. Without timestamps a user's rows stand in the order
    of time, without weights each weighs 1. Of a user's rows with one item the first in time counts, as `dataset.repeats:
    first` of a recipe has it. Raises InputError for another type of table, a missing column, a missing value, and a value
    that is no time or no weight.
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
    """The names of the columns. Raises InputError for what is no table."""
    if isinstance(table, pa.Table):
        return table.column_names
    if _library(table) in ("pandas", "polars") and type(table).__name__ == "DataFrame":
        return list(table.columns)
    more = " Call collect() first." if type(table).__name__ == "LazyFrame" else ""
    raise InputError(
        f"{TABLE}: a {type(table).__name__} is no table. Give a pandas or polars DataFrame, or an Arrow Table.{more}"
    )


def _find(key: str, named: str | None, names: list[str]) -> str | None:
    """The column of `key`; None if nobody named it, no usual name is there, and it may be missing."""
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
        f"{TABLE}: no column {wanted}, but {', '.join(map(str, names)) or 'none'}. Name the {key}'s column:"
        f" fit(…, {key}='…')."
    )


def _column(table: Any, name: str) -> pa.ChunkedArray | list[Any]:
    """A column in Arrow, or as Python has it if Arrow would change its values."""
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
    ):  # text with half a letter, a type that Arrow does not know
        return column.tolist()
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _arrow(table: Any, name: str) -> pa.ChunkedArray:
    """A column of times or weights without dictionaries and views."""
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
    """int64 and, of numbers, billionths int32 [rows]."""
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
