"""Raw columns of any type to typed ones; what cannot be read names its file, row and value."""

import pyarrow as pa
import pyarrow.compute as pc

from app.errors import InputError
from app.workspace import Place

_INTEGER = r"^[+-]?\d+$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def as_ids(column: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """Ids as strings without blanks around them, empty ones null. Raises InputError for a column that holds no ids."""
    if pa.types.is_nested(column.type) or pa.types.is_floating(column.type):
        raise InputError(
            f"{place}: column {name} has type {column.type}, ids are text or whole numbers. Convert it."
        )
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as strings; a list is written with | between its entries."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    return column.cast(pa.string())


def as_ratings(
    column: pa.ChunkedArray,
    name: str,
    place: Place,
    first_row: int,
    allowed: tuple[float, float] | None = None,
) -> pa.ChunkedArray:
    """Ratings as float32. Raises InputError at the first that is not finite or not within `allowed`."""
    fix = "Mend or remove the row"
    ratings = as_numbers(column, name, place, first_row, fix).cast(pa.float64())
    low, high = allowed or (-3.4e38, 3.4e38)
    outside = pc.or_(pc.less(ratings, low), pc.greater(ratings, high))
    expected = f"a rating from {low:g} to {high:g}" if allowed else "a number of 32 bits"
    refuse(outside, column, name, place, first_row, expected, fix)
    return ratings.cast(pa.float32())


def as_numbers(column: pa.ChunkedArray, name: str, place: Place, first_row: int, fix: str) -> pa.ChunkedArray:
    """Finite integers or floats, null where the column is null or an empty text."""
    if pa.types.is_integer(column.type):
        return column
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        numbers = column.cast(pa.float64())
        refuse(pc.invert(pc.is_finite(numbers)), column, name, place, first_row, "a finite number", fix)
        return numbers
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise InputError(f"{place}: column {name} has type {column.type}, not a number. {fix}.")
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    wrong = pc.invert(pc.match_substring_regex(text, _NUMBER))
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


def cast(numbers: pa.ChunkedArray, kind: pa.DataType, name: str, place: Place) -> pa.ChunkedArray:
    try:
        return numbers.cast(kind)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{place}: column {name} does not fit {kind}: {error}. Mend or remove the row."
        ) from None
