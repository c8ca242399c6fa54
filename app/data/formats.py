"""Tables as files: Parquet, CSV and RecBole's atomic files, each as column names, pieces and batches of columns."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from app.data.source import Piece
from app.errors import InputError
from app.workspace import Place


@dataclass(frozen=True)
class Format:
    """How a kind of table is read.

    `names` tells the columns of a file, `pieces` cuts files into what one task reads, `parts` reads some columns of a
    piece, batch by batch. All three raise InputError for a file that cannot be read.
    """

    names: Callable[[Place], list[str]]
    pieces: Callable[[list[Place], int | None], list[Piece]]
    parts: Callable[[Piece, list[str]], Iterator[pa.Table]]


def _parquet_names(file: Place) -> list[str]:
    try:
        return pq.read_schema(file.path, filesystem=file.fs).names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{file} cannot be read as parquet: {error}. Mend the file.") from None


def _row_groups(files: list[Place], part: int | None) -> list[Piece]:
    pieces = []
    for file in files:
        row = 0
        with pq.ParquetFile(file.path, filesystem=file.fs) as opened:
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                if rows:
                    pieces.append(Piece(file, group, row, part))
                row += rows
    return pieces


def _parquet_parts(piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(piece.place.path, filesystem=piece.place.fs) as opened:
        for batch in opened.iter_batches(1 << 20, row_groups=[piece.number], columns=used):
            yield pa.table(batch)


def _whole_files(files: list[Place], part: int | None) -> list[Piece]:
    return [Piece(file, 0, part=part) for file in files]


def _csv_names(file: Place) -> list[str]:
    return _header(file, pacsv.ParseOptions(newlines_in_values=True), "csv")


def _csv_parts(piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    yield from _delimited(piece.place, used, {}, pacsv.ParseOptions(newlines_in_values=True))


_TABS = pacsv.ParseOptions(delimiter="\t", quote_char=False)


def _atomic_columns(file: Place) -> dict[str, str]:
    """RecBole's header `user_id:token`: each column's name, and how the file calls it."""
    columns = {}
    for written in _header(file, _TABS, "a RecBole atomic file"):
        name, colon, kind = written.rpartition(":")
        if not colon or kind not in ("token", "token_seq", "float", "float_seq"):
            raise InputError(
                f"{file}: column '{written}' has no type. Write name:type, with the type token, token_seq, float or "
                "float_seq."
            )
        columns[name] = written
    return columns


def _atomic_parts(piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    yield from _delimited(piece.place, used, _atomic_columns(piece.place), _TABS)


def _header(file: Place, options: pacsv.ParseOptions, kind: str) -> list[str]:
    try:
        with _open_delimited(file, None, options) as reader:
            return reader.schema.names
    except (pa.ArrowInvalid, OSError) as error:
        if "Empty CSV" in str(error):
            raise InputError(f"{file}: the table is empty. Give one with a header and rows.") from None
        raise InputError(f"{file} cannot be read as {kind}: {error}. Mend the file.") from None


def _delimited(
    file: Place, used: list[str], written: dict[str, str], options: pacsv.ParseOptions
) -> Iterator[pa.Table]:
    """The columns `used`; `written` says how the file calls them where it is not by their name."""
    try:
        with _open_delimited(file, [written.get(name, name) for name in used], options) as reader:
            for batch in reader:
                yield pa.table(batch).rename_columns(used)
    except pa.ArrowInvalid as error:
        raise _fault(file, error) from None


def _open_delimited(
    file: Place, used: list[str] | None, options: pacsv.ParseOptions
) -> pacsv.CSVStreamingReader:
    """All columns as text: an id like 007 keeps its zeros, and what is no number can be named."""
    return pacsv.open_csv(
        file.fs.open_input_stream(file.path),
        read_options=pacsv.ReadOptions(use_threads=False),
        parse_options=options,
        convert_options=pacsv.ConvertOptions(
            include_columns=used,
            column_types={name: pa.string() for name in used or []},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _fault(file: Place, error: pa.ArrowInvalid) -> InputError:
    """What the parser refused, in words; for bytes that are not UTF-8 the file is read again to find them."""
    if "UTF8" not in str(error):
        return InputError(f"{file}: {error}. Mend or remove the row.")
    with file.fs.open_input_stream(file.path) as stream:
        for number, line in enumerate(io.BufferedReader(stream), start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return InputError(
                    f"{file}, line {number}: {line[:80]!r} is not UTF-8. Save the file as UTF-8."
                )
    return InputError(f"{file}: {error}. Save the file as UTF-8.")


FORMATS = {
    "parquet": Format(_parquet_names, _row_groups, _parquet_parts),
    "csv": Format(_csv_names, _whole_files, _csv_parts),
    "recbole": Format(lambda file: list(_atomic_columns(file)), _whole_files, _atomic_parts),
}
"""By the name of the source in the recipe."""
