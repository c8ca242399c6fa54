"""The endpoint's event log as a source of interactions: alone, or after those of another source."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.files import readable
from longtail.data.simulation import of_store
from longtail.data.source import KEYED, Piece, Source, read_rows
from longtail.data.tables import open_catalogue
from longtail.data.times import BILLION, dated
from longtail.errors import InputError
from longtail.event_log.log_files import LogFile, log_files, read_log_file
from longtail.event_log.records import INTERACTION, INTERACTIONS
from longtail.recipe import Dataset, ReadEvents
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
PIECE = 64 << 20
"""Bytes that one task reads, unless one file is larger."""
IN_SECONDS = ("simulated", "movielens")
"""Sources whose times are numbers of seconds."""


def open_events(folder: Place, dataset: Dataset) -> Source:
    """The source of a log alone; weights are ratings. Its catalogue is items.parquet in the same folder, if it is there.

    Raises InputError if there is no log, or no event in it.
    """
    if dataset.interactions:
        raise InputError(
            f"dataset.interactions = {dataset.interactions!r} is not read by the source events. Remove it."
        )
    reading = dataset.events or ReadEvents()
    if reading.log:
        raise InputError(
            "dataset.events.log: the log of source events is dataset.path. Remove dataset.events.log."
        )
    files = _files(folder, reading)
    if not files:
        until = f" before {reading.until}" if reading.until else ""
        raise InputError(f"{folder}: the event log has no event{until}. Post events to the endpoint first.")
    items, catalogue = open_catalogue(folder, dataset.model_copy(update={"source": "parquet"}))
    groups = _groups(files)
    return Source(
        pieces=[Piece(group[0].place, number) for number, group in enumerate(groups)],
        read=_reader(groups, reading.kinds, dataset.min_rating),
        catalogue=catalogue,
        has_ratings=True,
        files=_states(files) + [(item.path, item.fs.get_file_info(item.path).size, "") for item in items],
        listing=str(items[0] if items else folder),
        keyed_from=0,
    )


def with_events(base: Source, dataset: Dataset) -> Source:
    """The base and, as further pieces, the events of the log that `dataset.events` names. All times become dates.

    Raises InputError if the base has no times, or if there is no log.
    """
    reading = dataset.events
    if not reading.log:
        raise InputError("dataset.events.log is missing. Set it to the folder or URI of the event log.")
    if not base.has_times or dataset.split == "published":
        raise InputError(
            f"dataset.events: events have times, but {'a published split' if base.has_times else dataset.source} has none."
            " Give a log with times, or remove dataset.events."
        )
    folder = Place.named(reading.log, "dataset.events.log")
    files = _files(folder, reading)
    if not files:
        log.warning(
            "%s: the event log has no event yet, so there is only the source %s.", folder, dataset.source
        )
        return base
    groups, first = _groups(files), len(base.pieces)
    read_events = _reader(groups, reading.kinds, dataset.min_rating)
    unit = BILLION if dataset.source in IN_SECONDS else 1 if dataset.time_unit else None

    def read(piece: Piece) -> Iterator[pa.Table]:
        if piece.place is not None and piece.place.path in events:
            for table in read_events(piece):
                yield of_store(table, dataset.simulation) if dataset.source == "simulated" else table
            return
        for table in base.read(piece):
            yield _dated(table, unit, piece)

    pieces = [Piece(group[0].place, number) for number, group in enumerate(groups)]
    events = {piece.place.path for piece in pieces}
    return replace(
        base, pieces=base.pieces + pieces, read=read, files=base.files + _states(files), keyed_from=first
    )


def _files(folder: Place, reading: ReadEvents) -> list[LogFile]:
    """The files that are read. Raises InputError if `folder` is no event log."""
    with readable(folder):
        if not (folder / INTERACTIONS).exists():
            raise InputError(
                f"{folder} is no event log: it has no folder {INTERACTIONS}. Give the folder that serving.events.log names;"
                " by default it is `events` in the workspace."
            )
        return log_files(folder / INTERACTIONS, before=f"{reading.until}" if reading.until else "9")


def _groups(files: list[LogFile]) -> list[list[LogFile]]:
    """The files of each piece, in order. A bucket has many small ones."""
    groups: list[list[LogFile]] = []
    size = PIECE
    for file in files:
        if size + file.bytes > PIECE:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.bytes
    return groups


def _states(files: list[LogFile]) -> list[tuple[str, int, str]]:
    """For the fingerprint. Files of a log only grow, so a size stands for the content."""
    return [(file.place.path, file.bytes, "") for file in files]


def _reader(
    groups: list[list[LogFile]], kinds: list[str] | None, min_rating: float | None
) -> Callable[[Piece], Iterator[pa.Table]]:
    """Rows of KEYED. An event without weight counts as liked, whatever `min_rating` is."""

    def read(piece: Piece) -> Iterator[pa.Table]:
        done = 0
        for file in groups[piece.number]:
            table = read_log_file(file.place, INTERACTION, file.bytes)
            if kinds is not None:
                table = table.filter(pc.is_in(table["kind"], pa.array(kinds, pa.string())))
            weights = table["weight"]
            if min_rating is not None:
                weights = pc.fill_null(weights, pa.scalar(min_rating, pa.float32()))
            rows = read_rows(
                table["user_id"], table["item_id"], dated(table["time"].to_numpy()), weights, done
            )
            yield rows.append_column(KEYED.field("key"), table["event_id"])
            done += table.num_rows

    return read


def _dated(table: pa.Table, unit: int | None, piece: Piece) -> pa.Table:
    """Rows of READ whose times are dates. unit: ns of a number; None: unknown, then a number is an error."""
    numbers = pc.is_valid(table["fraction"]).to_numpy()
    if not numbers.any():
        return table
    if unit is None:
        row = piece.first_row + int(table["row"][int(np.argmax(numbers))].as_py()) + 1
        raise InputError(
            f"{piece.place}, row {row}: the time is a number of an unknown unit, and events have dates. Set"
            " dataset.time_unit."
        )
    times = pc.if_else(
        pa.array(numbers), pc.multiply(table["timestamp"], pa.scalar(unit, pa.int64())), table["timestamp"]
    )
    if unit == BILLION:
        times = pc.add(times, pc.fill_null(table["fraction"], 0).cast(pa.int64()))
    place = table.schema.get_field_index
    table = table.set_column(place("timestamp"), table.schema.field("timestamp"), times)
    nothing = pa.nulls(table.num_rows, table.schema.field("fraction").type)
    return table.set_column(place("fraction"), table.schema.field("fraction"), nothing)
