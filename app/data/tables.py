"""Interactions and catalogue from Parquet or CSV tables, with the recipe's column map."""

import io
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from app.data.columns import as_ids, as_ratings, as_text, as_times
from app.data.source import CATALOGUE, Piece, Source, file_states, read_rows
from app.errors import InputError
from app.recipe import Columns, Dataset
from app.workspace import Place


def open_tables(folder: Place, dataset: Dataset) -> Source:
    """The source of the tables in `folder`.

    Raises InputError for missing files and columns and for tables without rows.
    """
    kind, columns = dataset.source, dataset.columns
    files = _files(folder, dataset.interactions or f"interactions.{kind}", kind, "dataset.interactions")
    wanted = {"user": columns.user, "item": columns.item, "time": columns.time, "rating": columns.rating}
    for file in files:
        _require(file, kind, wanted)
    pieces = _row_groups(files) if kind == "parquet" else [Piece(file, 0) for file in files]
    if not pieces:
        raise InputError(f"{files[0]}: the table is empty. Give a table with at least one interaction.")
    items = folder / (dataset.items or f"items.{kind}")
    listed = items.exists()
    if dataset.items and not listed:
        raise InputError(f"{items} does not exist, dataset.items names it. In {folder}: {_listing(folder)}.")
    if listed:
        _require(
            items, kind, {"item": columns.item, "title": columns.title, "attributes": columns.attributes}
        )
    return Source(
        pieces=pieces,
        read=_reader(kind, columns),
        catalogue=lambda: _catalogue(items, kind, columns) if listed else CATALOGUE.empty_table(),
        has_times=columns.time is not None,
        has_ratings=columns.rating is not None,
        files=file_states([*files, items] if listed else files),
        listing=str(items),
    )


def _files(folder: Place, name: str, kind: str, key: str) -> list[Place]:
    """The file `name` in `folder`, or the files of that kind in the folder `name`."""
    place = folder / name
    if place.fs.get_file_info(place.path).is_file:
        return [place]
    parts = [file for file in place.files() if file.path.endswith((f".{kind}", f".{kind}.gz"))]
    if not parts:
        raise InputError(f"{place}: no {kind} file there. Set {key}. In {folder}: {_listing(folder)}.")
    return parts


def _listing(folder: Place) -> str:
    names = [file.path.removeprefix(folder.path).strip("/") for file in folder.files()]
    return ", ".join(names[:20]) or "nothing"


def _names(file: Place, kind: str) -> list[str]:
    try:
        if kind == "parquet":
            return pq.read_schema(file.path, filesystem=file.fs).names
        with _open_csv(file, None) as reader:
            return reader.schema.names
    except (pa.ArrowInvalid, OSError) as error:
        if "Empty CSV" in str(error):
            raise InputError(f"{file}: the table is empty. Give one with a header and rows.") from None
        raise InputError(f"{file} cannot be read as {kind}: {error}. Mend the file.") from None


def _require(file: Place, kind: str, wanted: dict[str, str | list[str] | None]) -> None:
    present = _names(file, kind)
    for key, value in wanted.items():
        for name in [value] if isinstance(value, str) else value or []:
            if name not in present:
                null = ", or to null if the table has none" if key in ("time", "rating", "title") else ""
                raise InputError(
                    f"{file}: no column '{name}', but {', '.join(present)}. Set dataset.columns.{key}{null}."
                )


def _row_groups(files: list[Place]) -> list[Piece]:
    pieces = []
    for file in files:
        row = 0
        with pq.ParquetFile(file.path, filesystem=file.fs) as opened:
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                if rows:
                    pieces.append(Piece(file, group, row))
                row += rows
    return pieces


def _reader(kind: str, columns: Columns) -> Callable[[Piece], Iterator[pa.Table]]:
    used = list(dict.fromkeys(filter(None, (columns.user, columns.item, columns.time, columns.rating))))

    def read(piece: Piece) -> Iterator[pa.Table]:
        file, done = piece.place, 0
        for table in _parquet_parts(piece, used) if kind == "parquet" else _csv_parts(file, used):
            row = piece.first_row + done
            n = table.num_rows
            times = (
                as_times(table[columns.time], columns.time, file, row)
                if columns.time
                else np.zeros(n, np.int64)
            )
            ratings = (
                as_ratings(table[columns.rating], columns.rating, file, row)
                if columns.rating
                else pa.nulls(n, pa.float32())
            )
            users, items = (as_ids(table[name], name, file) for name in (columns.user, columns.item))
            yield read_rows(users, items, times, ratings, done)
            done += n

    return read


def _parquet_parts(piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(piece.place.path, filesystem=piece.place.fs) as opened:
        for batch in opened.iter_batches(1 << 20, row_groups=[piece.number], columns=used):
            yield pa.table(batch)


def _csv_parts(file: Place, used: list[str]) -> Iterator[pa.Table]:
    try:
        with _open_csv(file, used) as reader:
            for batch in reader:
                yield pa.table(batch)
    except pa.ArrowInvalid as error:
        raise _csv_fault(file, error) from None


def _open_csv(file: Place, used: list[str] | None) -> pacsv.CSVStreamingReader:
    """All columns as text: an id like 007 keeps its zeros, and what is no number can be named."""
    return pacsv.open_csv(
        file.fs.open_input_stream(file.path),
        read_options=pacsv.ReadOptions(use_threads=False),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            include_columns=used,
            column_types={name: pa.string() for name in used or []},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _csv_fault(file: Place, error: pa.ArrowInvalid) -> InputError:
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


def _catalogue(file: Place, kind: str, columns: Columns) -> pa.Table:
    """item_id, title, attributes of every listed item. Raises InputError where the file cannot be read."""
    used = list(
        dict.fromkeys([columns.item, *([columns.title] if columns.title else []), *columns.attributes])
    )
    if kind == "parquet":
        table = file.read_table(columns=used)
    else:
        table = pa.concat_tables(list(_csv_parts(file, used)))
    n = table.num_rows
    texts = [as_text(table[name]).combine_chunks() for name in columns.attributes]
    return pa.table(
        [
            as_ids(table[columns.item], columns.item, file),
            as_text(table[columns.title]) if columns.title else pa.nulls(n, pa.string()),
            attribute_maps(columns.attributes, texts, n),
        ],
        schema=CATALOGUE,
    )


def attribute_maps(names: list[str], values: list[pa.Array], n: int) -> pa.MapArray:
    """One map per row of [n] from string columns; a null or empty value is left out."""
    if not names:
        return pa.array([[]] * n, CATALOGUE.field("attributes").type)
    filled = np.stack(
        [
            pa.compute.greater(pa.compute.utf8_length(pa.compute.fill_null(column, "")), 0)
            for column in values
        ],
        axis=1,
    ).astype(bool)
    text = np.stack([column.to_numpy(zero_copy_only=False) for column in values], axis=1)
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    keys = np.broadcast_to(np.array(names, object), filled.shape)
    return pa.MapArray.from_arrays(
        offsets, pa.array(keys[filled], pa.string()), pa.array(text[filled], pa.string())
    )
