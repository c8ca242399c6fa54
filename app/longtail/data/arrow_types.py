"""Converts Arrow's many types to the few that the readers know: text, numbers, bool, dates, times and lists of them."""

import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import lengths_of, lists_of, offsets_of
from longtail.errors import InputError
from longtail.workspace.place import Place


def plain(column: pa.ChunkedArray, name: str, file: Place, first_row: int) -> pa.ChunkedArray:
    """The same values without dictionaries, views, extensions and large offsets.

    Bytes become text, a column of type null becomes text, every kind of list becomes `list`. A struct or a map is not
    changed; its reader refuses it. Raises InputError, with the row, for bytes that are not UTF-8.
    """
    try:
        return pa.chunked_array([_plain(chunk) for chunk in column.chunks or [pa.array([], column.type)]])
    except pa.ArrowException as error:
        wrong = next((row for row in range(len(column)) if _is_wrong(column.slice(row, 1))), None)
        if wrong is None:
            raise InputError(f"{file}: column {name} of type {column.type}: {error}. Convert it.") from None
        raise InputError(
            f"{file}, row {first_row + wrong + 1}: {name} has type {column.type}, and a value that is not UTF-8. "
            "Mend the row, or convert the column to text."
        ) from None


def is_list(kind: pa.DataType) -> bool:
    """Whether it is any kind of list. A map is not a list."""
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _plain(values: pa.Array) -> pa.Array:
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(values.storage)
    if pa.types.is_dictionary(kind):
        return _plain(values.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(values))
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.string())
    if _is_text(kind):
        # Text in a Parquet file may be invalid UTF-8; the cast from bytes checks it.
        return values.cast(pa.binary()).cast(pa.string())
    if is_list(kind):
        return lists_of(offsets_of(lengths_of(values)), _plain(pc.list_flatten(values)), values.is_null())
    return values


def _is_text(kind: pa.DataType) -> bool:
    kinds = (
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
    )
    return kind in kinds or pa.types.is_fixed_size_binary(kind)


def _is_wrong(value: pa.ChunkedArray) -> bool:
    try:
        _plain(value.chunk(0))
    except pa.ArrowException:
        return True
    return False
