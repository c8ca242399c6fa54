"""Columns of times of any type to int64; what cannot be read names its file, row and value."""

import pyarrow as pa
import pyarrow.compute as pc

from app.data.columns import as_numbers, cast
from app.workspace import Place


def as_times(column: pa.ChunkedArray, name: str, place: Place, first_row: int) -> pa.ChunkedArray:
    """Seconds, or any number that orders interactions, as int64. Raises InputError at the first other."""
    if pa.types.is_temporal(column.type):
        return column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    numbers = as_numbers(
        column, name, place, first_row, "Give Unix seconds or any number that orders the interactions"
    )
    if pa.types.is_integer(numbers.type):
        return cast(numbers, pa.int64(), name, place)
    return cast(pc.floor(numbers), pa.int64(), name, place)
