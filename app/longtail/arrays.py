"""Lists of different lengths as flat arrays: the values of one list after the other, and the offset where each begins.

List r is values[offsets[r] : offsets[r + 1]], as in Arrow's list columns and SciPy's CSR. This module uses only NumPy and
Arrow, so every process can import it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The offsets of lists of these lengths: 0, then the sum of the lengths up to each list. int64 [lists + 1]."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def rows_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The number of the list of each entry, from 0. int64 [entries]."""
    return np.repeat(np.arange(len(lengths)), lengths)


def places_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The position of each entry in its own list, from 0. int64 [entries]."""
    offsets = offsets_of(lengths)
    places = np.arange(offsets[-1])
    places -= np.repeat(offsets[:-1], lengths)
    return places


def latest(offsets: np.ndarray, rows: np.ndarray, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the last `length` entries of some lists, or all entries if it is None.

    rows: the numbers of the lists [rows]. Returns the positions of the entries in the flat values, one list after the other,
    int64 [n], and how many there are of each list, int64 [rows].
    """
    ends = offsets[1:][rows]
    lengths = ends - offsets[:-1][rows]
    if length is not None:
        lengths = np.minimum(lengths, length)
    return np.repeat(ends - lengths, lengths) + places_of(lengths), lengths


def lengths_of(lists: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The lengths of the lists of a list column; a null has length 0. int64 [lists]."""
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def entry_rows(lists: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The row of each entry of a list column, in the order of its `flatten()`. int64 [entries]."""
    return rows_of(lengths_of(lists))


def entries_between(
    lists: pa.ListArray, starts: np.ndarray, ends: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each list from position `starts` [lists], and before position `ends` [lists] if it is given.

    Returns the row of each entry int64 [n] and its value [n], in the order of the lists.
    """
    lengths = lengths_of(lists)
    rows, places = rows_of(lengths), places_of(lengths)
    wanted = places >= starts[rows]
    if ends is not None:
        wanted &= places < ends[rows]
    return rows[wanted], lists.flatten().to_numpy()[wanted]


def views_of(lists: pa.ListArray) -> list[np.ndarray]:
    """Each list of numbers, as a view of the array of all values."""
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
    return [values[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


def lists_of(
    offsets: np.ndarray, values: pa.Array | np.ndarray, mask: pa.Array | None = None
) -> pa.ListArray:
    """A list column from offsets and flat values. A list is null if `mask`, bool [lists], is true there.

    Raises pa.ArrowInvalid for 2**31 entries or more.
    """
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)


def with_values(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """A list column with the lengths of `lists` and these flat values."""
    return lists_of(offsets_of(lengths_of(lists)), values)


def nested(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Like `pa.array`, but also for lists of NumPy arrays, at any depth. Much faster than with Python numbers."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    inner = kind.value_type
    offsets = offsets_of(np.fromiter((len(value) for value in values), np.int64, len(values)))
    if pa.types.is_list(inner):
        return lists_of(offsets, nested([part for value in values for part in value], inner))
    dtype = inner.to_pandas_dtype()
    flat = np.concatenate([np.zeros(0, dtype), *values]).astype(dtype, copy=False)
    return lists_of(offsets, pa.array(flat, inner))
