"""Converts raw columns of any type to typed ones. An error names the file, row and value."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import entry_rows, lists_of, offsets_of
from longtail.data.arrow_types import is_list
from longtail.errors import InputError
from longtail.workspace.place import Place

_INTEGER = r"^[+-]?\d+$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""A number as text."""


def as_ids(column: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """Ids as strings without blanks around them; an empty id is null. Raises InputError for a column without ids."""
    kind = column.type
    is_fraction = pa.types.is_floating(kind) or (pa.types.is_decimal(kind) and kind.scale != 0)
    if pa.types.is_nested(kind) or is_fraction or pa.types.is_duration(kind):
        raise InputError(
            f"{place}: column {name} has type {column.type}, ids are text or whole numbers. Convert it."
        )
    text = pc.utf8_trim_whitespace(cast(column, pa.string(), name, place))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def as_text(column: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """Any column of single values as strings. A list is joined with | between its entries; its nulls are left out.

    Raises InputError for any other column.
    """
    kind = column.type.value_type if is_list(column.type) else column.type
    if pa.types.is_nested(kind):
        raise InputError(
            f"{place}: column {name} has type {column.type}, texts are single values or lists of them. Convert it, or "
            "take it out of dataset.columns."
        )
    if not is_list(column.type):
        return cast(column, pa.string(), name, place)
    joined = []
    for entries in column.chunks:
        texts = cast(pc.list_flatten(entries), pa.string(), name, place)
        rows = entry_rows(entries)[texts.is_valid().to_numpy(zero_copy_only=False)]
        offsets = offsets_of(np.bincount(rows, minlength=len(entries)))
        joined.append(pc.binary_join(lists_of(offsets, texts.drop_null(), entries.is_null()), "|"))
    return pa.chunked_array(joined, pa.string())


def as_ratings(
    column: pa.ChunkedArray,
    name: str,
    place: Place,
    first_row: int,
    allowed: tuple[float, float] | None = None,
) -> pa.ChunkedArray:
    """Ratings as float32. Raises InputError for the first that is not finite or not within `allowed`."""
    fix = "Mend or remove the row"
    ratings = cast(_numbers(column, name, place, first_row, fix), pa.float64(), name, place)
    low, high = allowed or (-3.4e38, 3.4e38)
    outside = pc.or_(pc.less(ratings, low), pc.greater(ratings, high))
    expected = f"a rating from {low:g} to {high:g}" if allowed else "a number of 32 bits"
    refuse(outside, column, name, place, first_row, expected, fix)
    return ratings.cast(pa.float32())


def _numbers(column: pa.ChunkedArray, name: str, place: Place, first_row: int, fix: str) -> pa.ChunkedArray:
    """Finite integers or floats; null if the value is null or an empty text."""
    if pa.types.is_integer(column.type):
        return column
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        numbers = cast(column, pa.float64(), name, place)
        refuse(pc.invert(pc.is_finite(numbers)), column, name, place, first_row, "a finite number", fix)
        return numbers
    if not pa.types.is_string(column.type):
        raise InputError(f"{place}: column {name} has type {column.type}, not a number. {fix}.")
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    wrong = pc.invert(pc.match_substring_regex(text, NUMBER))
    refuse(wrong, column, name, place, first_row, "a number", fix)
    whole = pc.all(pc.match_substring_regex(text, _INTEGER)).as_py() is not False
    return cast(text, pa.int64() if whole else pa.float64(), name, place)


def refuse(
    wrong: pa.ChunkedArray,
    column: pa.ChunkedArray,
    name: str,
    place: Place,
    first_row: int,
    expected: str,
    fix: str,
) -> None:
    """Raise InputError at the first row where `wrong` is true."""
    place_of_first = pc.index(wrong, True).as_py()
    if place_of_first >= 0:
        value = str(column[place_of_first].as_py())[:80]
        raise InputError(
            f"{place}, row {first_row + place_of_first + 1}: {name} = {value!r} is not {expected}. {fix}."
        )


def cast(
    column: pa.ChunkedArray | pa.Array, kind: pa.DataType, name: str, place: Place
) -> pa.ChunkedArray | pa.Array:
    """The column as `kind`. Raises InputError with file, column and type if it cannot be converted."""
    try:
        return column.cast(kind)
    except pa.ArrowNotImplementedError:
        raise InputError(
            f"{place}: column {name} has type {column.type}, which cannot be read as {kind}. Convert it, or name "
            "another column."
        ) from None
    except pa.ArrowException as error:
        raise InputError(
            f"{place}: column {name} does not fit {kind}, its type is {column.type}: {error}. Mend or remove the row."
        ) from None
