"""Interactions and catalogue from Parquet, CSV or RecBole tables, with the recipe's column map."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from longtail.arrays import offsets_of
from longtail.data.columns import as_ids, as_ratings, as_text
from longtail.data.files import listing, named_like, only, partition
from longtail.data.files import table as files_of
from longtail.data.source import CATALOGUE, TEST, TRAIN, Piece, Source, file_states, read_rows
from longtail.data.table_formats import Format, format_of
from longtail.data.times import as_times, numbered
from longtail.errors import InputError
from longtail.recipe import Columns, Dataset, TimeUnit
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

SUFFIXES = {"parquet": ("parquet", "parquet"), "csv": ("csv", "csv"), "recbole": ("inter", "item")}
"""The suffixes of the files of interactions and of the catalogue, by source."""


def open_tables(folder: Place, dataset: Dataset) -> Source:
    """The source of the tables in `folder`.

    Raises InputError for missing files and columns and for tables without rows.
    """
    columns, published = dataset.columns, dataset.split == "published"
    form = format_of(dataset)
    time = None if published else columns.time
    wanted = {"user": columns.user, "item": columns.item, "time": time, "rating": columns.rating}
    pieces, files = [], []
    for part, key in ((TRAIN, "interactions"), (TEST, "test")) if published else ((None, "interactions"),):
        found = _interactions(folder, dataset, key)
        for file in found:
            _require(file, form, wanted)
        cut = form.pieces(found, part)
        if not cut:
            raise InputError(f"{found[0]}: the table is empty. Give a table with at least one interaction.")
        pieces, files = pieces + cut, files + found
    items, catalogue = open_catalogue(folder, dataset)
    return Source(
        pieces=pieces,
        read=_reader(form, columns, dataset.time_unit),
        catalogue=catalogue,
        has_times=time is not None,
        has_ratings=columns.rating is not None,
        files=file_states(files + items),
        listing=str(items[0] if len(items) == 1 else items[0].parent if items else folder),
    )


def open_catalogue(folder: Place, dataset: Dataset) -> tuple[list[Place], Callable[[], pa.Table]]:
    """The files of the catalogue, [] if there is none, and what reads them: rows of CATALOGUE.

    Raises InputError if one lacks a column.
    """
    columns, form = dataset.columns, format_of(dataset)
    items = _items(folder, dataset)
    for file in items:
        _require(file, form, {"item": columns.item, "title": columns.title, "attributes": columns.attributes})
    return items, lambda: _catalogue(items, form, columns)


def _interactions(folder: Place, dataset: Dataset, key: str) -> list[Place]:
    """The files that the setting `key` names, or those with the usual name."""
    suffix, name = SUFFIXES[dataset.source][0], getattr(dataset, key)
    if name is None and dataset.source == "recbole":
        if dataset.split == "published":
            raise InputError(
                f"dataset.{key} is missing: name the .{suffix} file. In {folder}: {listing(folder)}."
            )
        return [_one(folder, only(folder, suffix), suffix, f"dataset.{key}")]
    usual = "test" if key == "test" else "train" if dataset.split == "published" else "interactions"
    name = name or f"{usual}.{suffix}"
    found = files_of(folder, name, suffix, named=bool(getattr(dataset, key)))
    if not found:
        raise InputError(
            f"{folder / name}: no {suffix} file there. Set dataset.{key}. In {folder}: {listing(folder)}."
        )
    return found


def _one(folder: Place, found: list[Place], suffix: str, key: str) -> Place:
    """The only one of the files that were found. Raises InputError if there are none or several."""
    if len(found) != 1:
        raise InputError(
            f"{folder}: {len(found)} .{suffix} files, one is needed. Set {key}. There: {listing(folder)}."
        )
    return found[0]


def _items(folder: Place, dataset: Dataset) -> list[Place]:
    """The files of the catalogue, [] if there is none."""
    suffix = SUFFIXES[dataset.source][1]
    if dataset.items:
        found = files_of(folder, dataset.items, suffix)
        if not found:
            raise InputError(
                f"{folder / dataset.items} does not exist, dataset.items names it. In {folder}: {listing(folder)}."
            )
        return found
    if dataset.source == "recbole":
        log_name = (dataset.interactions or "").partition(".inter")[0]
        beside = files_of(folder, f"{log_name}.{suffix}", suffix, named=False) if log_name else []
        found = beside or only(folder, suffix)
        return [_one(folder, found, suffix, "dataset.items")] if found else []
    found = files_of(folder, f"items.{suffix}", suffix, named=False)
    if not found and (others := named_like(folder, "items.")):
        log.warning(
            "%s: %s not read, because the source %s reads items.%s. If it is the catalogue, write it in this format.",
            *(folder, f"{', '.join(others)} {'are' if len(others) > 1 else 'is'}", dataset.source, suffix),
        )
    return found


def _require(file: Place, form: Format, wanted: dict[str, str | list[str] | None]) -> None:
    """Raise InputError if a column that the recipe names is not in the file, or is there twice."""
    written = form.names(file)
    present = [*written, *(key for key in partition(file) if key not in written)]
    for key, value in wanted.items():
        for name in [value] if isinstance(value, str) else value or []:
            if name not in present:
                null = ", or to null if the table has none" if key in ("time", "rating", "title") else ""
                raise InputError(
                    f"{file}: no column '{name}', but {', '.join(present)}. {form.hint(written)}"
                    f"Set dataset.columns.{key}{null}."
                )
            if present.count(name) > 1:
                raise InputError(
                    f"{file}: {present.count(name)} columns are called '{name}'. Rename all but one."
                )


def _parts(form: Format, piece: Piece, used: list[str]) -> Iterator[pa.Table]:
    """The columns `used` of a piece in batches. Columns from folder names have one value in all rows."""
    given = partition(piece.place)
    if not given.keys() & set(used):
        yield from form.parts(piece, used)
        return
    written = form.names(piece.place)
    read = [name for name in used if name in written]
    for part in form.parts(piece, read):
        for name in used:
            if name not in read:
                value = pa.scalar(given[name], pa.string())
                part = part.append_column(name, pa.chunked_array([pa.repeat(value, part.num_rows)]))
        yield part.select(used)


def _reader(form: Format, columns: Columns, unit: TimeUnit | None) -> Callable[[Piece], Iterator[pa.Table]]:
    def read(piece: Piece) -> Iterator[pa.Table]:
        file, done = piece.place, 0
        time = columns.time if piece.part is None else None
        used = list(dict.fromkeys(filter(None, (columns.user, columns.item, time, columns.rating))))
        for table in _parts(form, piece, used):
            row = piece.first_row + done
            n = table.num_rows
            times = (
                as_times(table[time], time, file, row, unit)
                if time
                else numbered(np.full(n, piece.part or 0))
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


def _catalogue(files: list[Place], form: Format, columns: Columns) -> pa.Table:
    """item_id, title, attributes of every listed item. Raises InputError for a file that cannot be read."""
    title = [columns.title] if columns.title else []
    used = list(dict.fromkeys([columns.item, *title, *columns.attributes]))
    read = [CATALOGUE.empty_table()]
    for piece in form.pieces(files, None):
        for part in _parts(form, piece, used):
            file, n = piece.place, part.num_rows
            texts = [as_text(part[name], name, file).combine_chunks() for name in columns.attributes]
            columns_of_part = [
                as_ids(part[columns.item], columns.item, file),
                as_text(part[columns.title], columns.title, file) if title else pa.nulls(n, pa.string()),
                attribute_maps(columns.attributes, texts, n),
            ]
            read.append(pa.table(columns_of_part, schema=CATALOGUE))
    return pa.concat_tables(read)


def attribute_maps(names: list[str], values: list[pa.Array], n: int) -> pa.MapArray:
    """Maps [n], one per row, from string columns. A null or empty value is left out."""
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
    offsets = pa.array(offsets_of(filled.sum(axis=1)), pa.int32())
    keys = np.broadcast_to(np.array(names, object), filled.shape)
    return pa.MapArray.from_arrays(
        offsets, pa.array(keys[filled], pa.string()), pa.array(text[filled], pa.string())
    )
