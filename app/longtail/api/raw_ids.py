"""Ids as a user has them, of any type, to dense codes and back."""

from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.errors import InputError


class RawIds:
    """Distinct ids; the code of an id is its place. Ids that are equal in Python are one id."""

    def __init__(self, distinct: list[Hashable]) -> None:
        self._ids = distinct
        self._codes = {one: code for code, one in enumerate(distinct)}

    def __len__(self) -> int:
        return len(self._ids)

    def code(self, one: Any) -> int | None:
        """The code of an id, None if there is no such id."""
        try:
            return self._codes.get(one)
        except TypeError:  # what cannot be hashed is no id
            return None

    def of(self, codes: Iterable[int]) -> list[Hashable]:
        return [self._ids[code] for code in codes]

    def examples(self, many: int = 3) -> str:
        """The first ids, for a message."""
        shown = ", ".join(map(repr, self._ids[:many]))
        return f"{shown} and {len(self) - many:,} more" if len(self) > many else shown


def coded(column: pa.ChunkedArray | list[Any], name: str) -> tuple[RawIds, np.ndarray]:
    """The distinct ids of a column, in their own order if they have one, and the codes int32 [rows].

    Text and whole numbers in Arrow are coded by Arrow, all else by Python's hash and equality. Raises InputError for a
    missing id, and for values that are no ids (lists, dictionaries).
    """
    if isinstance(column, pa.ChunkedArray):
        column = _plain(column)
        if _by_arrow(column.type):
            refuse_missing(column.is_null().to_numpy(), name)
            distinct = column.unique()
            distinct = distinct.take(pc.array_sort_indices(distinct))
            return RawIds(distinct.to_pylist()), pc.index_in(column, distinct).to_numpy()
        column = column.to_pylist()
    refuse_missing(np.fromiter(map(_is_missing, column), bool, len(column)), name)
    try:
        met = list(dict.fromkeys(column))
    except TypeError:
        kinds = sorted({type(one).__name__ for one in column if not isinstance(one, Hashable)})
        raise InputError(
            f"interactions: column {name!r} holds values of type {', '.join(kinds) or 'that cannot be hashed'}, which"
            " are no ids. Give text, numbers or tuples."
        ) from None
    with suppress(TypeError):  # of several types: they stay in the order of their first row
        met.sort()
    ids = RawIds(met)
    return ids, np.fromiter(map(ids.code, column), np.int32, len(column))


def refuse_missing(missing: np.ndarray, name: str) -> None:
    """Raise InputError that names the first row, from 1, if any value of a column is missing; bool [rows]."""
    if missing.any():
        raise InputError(
            f"interactions, row {int(missing.argmax()) + 1}: {name!r} is missing, and so in {int(missing.sum()):,} of"
            f" {len(missing):,} rows. Drop these rows, or fill them in."
        )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without a dictionary, runs or views, which not every function of Arrow takes."""
    if pa.types.is_dictionary(column.type):
        return _plain(column.cast(column.type.value_type))
    if pa.types.is_run_end_encoded(column.type):
        return _plain(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks]))
    return column.cast(pa.large_string()) if column.type == pa.string_view() else column


def _by_arrow(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)


def _is_missing(value: Any) -> bool:
    """None, and what is not equal to itself: NaN, NaT; pandas' NA has no answer to that."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"
