"""Interactions and catalogue from Parquet, CSV or RecBole tables, with the recipe's column map."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from app.data.columns import as_ids, as_ratings, as_text
from app.data.formats import FORMATS, Format
from app.data.source import CATALOGUE, TEST, TRAIN, Piece, Source, file_states, listing, read_rows
from app.data.times import as_times, numbered
from app.errors import InputError
from app.recipe import Columns, Dataset, TimeUnit
from app.workspace import Place

SUFFIXES = {"parquet": ("parquet", "parquet"), "csv": ("csv", "csv"), "recbole": ("inter", "item")}
"""How files of interactions and of the catalogue end, by kind."""


def open_tables(folder: Place, dataset: Dataset) -> Source:
    """The source of the tables in `folder`.

    Raises InputError for missing files and columns and for tables without rows.
    """
    kind, columns = dataset.source, dataset.columns
    published = dataset.split == "published"
    form = FORMATS[kind]
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
    items = _items(folder, dataset)
    if items:
        _require(
            items, form, {"item": columns.item, "title": columns.title, "attributes": columns.attributes}
        )
    return Source(
        pieces=pieces,
        read=_reader(form, columns, dataset.time_unit),
        catalogue=lambda: _catalogue(items, form, columns) if items else CATALOGUE.empty_table(),
        has_times=time is not None,
        has_ratings=columns.rating is not None,
        files=file_states([*files, items] if items else files),
        listing=str(items or folder),
    )


def _interactions(folder: Place, dataset: Dataset, key: str) -> list[Place]:
    """The files that the setting `key` names, or those that bear the usual name."""
    suffix = SUFFIXES[dataset.source][0]
    name = getattr(dataset, key)
    if name is None and dataset.source == "recbole":
        if dataset.split == "published":
            raise InputError(
                f"dataset.{key} is missing: name the .{suffix} file. In {folder}: {listing(folder)}."
            )
        return [_only(folder, suffix, f"dataset.{key}")]
    usual = "test" if key == "test" else "train" if dataset.split == "published" else "interactions"
    return _files(folder, name or f"{usual}.{suffix}", suffix, f"dataset.{key}")


def _files(folder: Place, name: str, suffix: str, key: str) -> list[Place]:
    """The file `name` in `folder`, or the files of that kind in the folder `name`."""
    place = folder / name
    if place.fs.get_file_info(place.path).is_file:
        return [place]
    parts = [file for file in place.files() if file.path.endswith((f".{suffix}", f".{suffix}.gz"))]
    if not parts:
        raise InputError(f"{place}: no {suffix} file there. Set {key}. In {folder}: {listing(folder)}.")
    return parts


def _only(folder: Place, suffix: str, key: str) -> Place:
    """The only file of that kind in `folder`."""
    found = [file for file in folder.files() if file.path.endswith((f".{suffix}", f".{suffix}.gz"))]
    if len(found) != 1:
        raise InputError(
            f"{folder}: {len(found)} .{suffix} files, one is needed. Set {key}. There: {listing(folder)}."
        )
    return found[0]


def _items(folder: Place, dataset: Dataset) -> Place | None:
    """The catalogue, where there is one."""
    suffix = SUFFIXES[dataset.source][1]
    if dataset.items:
        items = folder / dataset.items
        if not items.exists():
            raise InputError(
                f"{items} does not exist, dataset.items names it. In {folder}: {listing(folder)}."
            )
        return items
    if dataset.source == "recbole":
        found = any(file.path.endswith((f".{suffix}", f".{suffix}.gz")) for file in folder.files())
        return _only(folder, suffix, "dataset.items") if found else None
    items = folder / f"items.{suffix}"
    return items if items.exists() else None


def _require(file: Place, form: Format, wanted: dict[str, str | list[str] | None]) -> None:
    present = form.names(file)
    for key, value in wanted.items():
        for name in [value] if isinstance(value, str) else value or []:
            if name not in present:
                null = ", or to null if the table has none" if key in ("time", "rating", "title") else ""
                raise InputError(
                    f"{file}: no column '{name}', but {', '.join(present)}. Set dataset.columns.{key}{null}."
                )


def _reader(form: Format, columns: Columns, unit: TimeUnit | None) -> Callable[[Piece], Iterator[pa.Table]]:
    def read(piece: Piece) -> Iterator[pa.Table]:
        file, done = piece.place, 0
        time = columns.time if piece.part is None else None
        used = list(dict.fromkeys(filter(None, (columns.user, columns.item, time, columns.rating))))
        for table in form.parts(piece, used):
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


def _catalogue(file: Place, form: Format, columns: Columns) -> pa.Table:
    """item_id, title, attributes of every listed item. Raises InputError where the file cannot be read."""
    used = list(
        dict.fromkeys([columns.item, *([columns.title] if columns.title else []), *columns.attributes])
    )
    parts = [part for piece in form.pieces([file], None) for part in form.parts(piece, used)]
    if not parts:
        return CATALOGUE.empty_table()
    table = pa.concat_tables(parts)
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
