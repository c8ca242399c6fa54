"""The file formats of tables (Parquet, CSV, RecBole's atomic files): how column names, pieces and batches are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longtail.data import delimited
from longtail.data.arrow_types import plain
from longtail.data.files import is_packed, open_file, readable
from longtail.data.quotes import Dialect
from longtail.data.source import Piece
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Format:
    """How a kind of table is read.

    `names` gives the columns of a file. `pieces` cuts files into pieces that one task reads. `parts` reads some columns of
    a piece in batches. All three raise InputError for a file that cannot be read.
    """

    names: Callable[[Place], list[str]]
    pieces: Callable[[list[Place], int | None], list[Piece]]
    parts: Callable[[Piece, list[str]], Iterator[pa.Table]]
    hint: Callable[[list[str]], str] = lambda names: ""
    """A sentence about a setting that seems not to fit the column names, or an empty text."""


def format_of(dataset: Dataset) -> Format:
    """The format that the recipe names."""
    if dataset.source == "parquet":
        return Format(_parquet_names, _row_groups, _parquet_parts)
    if dataset.source == "recbole":
        return Format(
            lambda file: list(delimited.atomic_names(file, dataset.encoding)),
            _whole_files,
            lambda piece, used: delimited.atomic_parts(piece.place, used, dataset.encoding),
        )
    dialect = Dialect(dataset.delimiter, dataset.quote, dataset.escape, dataset.encoding)
    return Format(
        partial(delimited.names, dialect=dialect),
        _whole_files,
        lambda piece, used: delimited.parts(piece.place, used, dialect),
        partial(delimited.hint, dialect=dialect),
    )


def _parquet_names(file: Place) -> list[str]:
    with readable(file, "parquet"):
        try:
            return pq.read_schema(_parquet(file)).names
        except UnicodeDecodeError as error:
            raise InputError(
                f"{file}: the name of a column, {error.object!r}, is not UTF-8. Rename it, and write the file again."
            ) from None


def _row_groups(files: list[Place], part: int | None) -> list[Piece]:
    pieces = []
    for file in files:
        row = 0
        with readable(file, "parquet"), pq.ParquetFile(_parquet(file)) as opened:
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                if rows:
                    pieces.append(Piece(file, group, row, part))
                row += rows
    return pieces


def _parquet_parts(piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    file, row = piece.place, piece.first_row
    with readable(file, "parquet"), pq.ParquetFile(_parquet(file)) as opened:
        for batch in opened.iter_batches(1 << 20, row_groups=[piece.number], columns=used):
            table = pa.table(batch)
            yield pa.table({name: plain(table[name], name, file, row) for name in used})
            row += batch.num_rows


def _parquet(file: Place) -> Any:
    """A seekable file for Arrow's Parquet reader. A file that is compressed as a whole is held in memory."""
    if not is_packed(file):
        return file.fs.open_input_file(file.path)
    with open_file(file) as stream:
        return pa.BufferReader(stream.read_buffer())


def _whole_files(files: list[Place], part: int | None) -> list[Piece]:
    return [Piece(file, 0, part=part) for file in files]
