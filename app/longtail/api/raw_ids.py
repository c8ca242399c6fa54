"""Turn raw ids of any type into dense codes, and codes into raw ids."""

from collections.abc import Hashable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.errors import InputError


class RawIds:
    """Distinct ids. The code of an id is its position. Ids that are equal in Python are one id."""

    def __init__(self, distinct: list[Hashable]) -> None:
        self._ids = distinct
        self._codes = {one: code for code, one in enumerate(distinct)}

    def __len__(self) -> int:
        return len(self._ids)

    def code(self, one: Any) -> int | None:
        """The code of an id, None if there is no such id."""
        try:
            return self._codes.get(one)
        except TypeError:  # a value that cannot be hashed is not an id
            return None

    def of(self, codes: Iterable[int]) -> list[Hashable]:
        return [self._ids[code] for code in codes]

    def examples(self, many: int = 3) -> str:
        """The first ids, and how many more there are, for a message."""
        shown = ", ".join(map(repr, self._ids[:many]))
        return f"{shown} and {len(self) - many:,} more" if len(self) > many else shown


def coded(column: pa.ChunkedArray | list[Any], name: str) -> tuple[RawIds, np.ndarray]:
    """The distinct ids of a column, sorted if they can be sorted, and the code of each row, int32 [rows].

    Text and integers in Arrow are coded by Arrow. All other ids are coded by Python's hash and equality. Raises InputError
    for a missing id, and for values that cannot be ids (lists, dictionaries).
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
            " cannot be ids. Give text, numbers or tuples."
        ) from None
    with suppress(TypeError):  # ids of several types stay in the order of their first rows
        met.sort()
    ids = RawIds(met)
    return ids, np.fromiter(map(ids.code, column), np.int32, len(column))


def refuse_missing(missing: np.ndarray, name: str) -> None:
    """Raise InputError if any value of a column is missing.

    missing: bool [rows]. name: the column. The message names the first such row, counted from 1.
    """
    if missing.any():
        raise InputError(
            f"interactions, row {int(missing.argmax()) + 1}: {name!r} is missing, and so in {int(missing.sum()):,} of"
            f" {len(missing):,} rows. Drop these rows, or fill them in."
        )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values, decoded from a dictionary, runs or views, because some functions of Arrow do not take these."""
    if pa.types.is_dictionary(column.type):
        return _plain(column.cast(column.type.value_type))
    if pa.types.is_run_end_encoded(column.type):
        return _plain(pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks]))
    return column.cast(pa.large_string()) if column.type == pa.string_view() else column


def _by_arrow(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)


def _is_missing(value: Any) -> bool:
    """Whether a value is None, not equal to itself (NaN, NaT), or pandas' NA, whose comparison raises TypeError."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"
