"""A source of interactions: its pieces, a reader for a piece, and a catalogue. All sources give the same tables.

Readers run as Ray Data tasks, one per piece (a block of simulated users, a Parquet row group, a file). A task
that finds bad input does not fail: it yields one row with the message, which `prepare` raises.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.files import readable
from longtail.data.times import TIMES
from longtail.errors import InputError
from longtail.schema import INTERACTIONS
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from ray.data import Dataset

READ = pa.schema(
    [
        *INTERACTIONS,
        *(TIMES.field(name) for name in ("fraction", "written")),
        ("row", pa.int64()),
        ("fault", pa.string()),
    ]
)
"""`row` gives the order of the raw files. If `fault` is not null, the other columns have no meaning."""

KEYED = READ.append(pa.field("key", pa.string()))
"""Rows with an equal `key` are one interaction that was written more than once."""

CATALOGUE = pa.schema(
    [("item_id", pa.string()), ("title", pa.string()), ("attributes", pa.map_(pa.string(), pa.string()))]
)

TRAIN, TEST = 0, 1
"""The parts of a published split. They are used as times, so train comes before test."""

_ROWS_PER_PIECE = 1 << 40
_HASHED = 1 << 30
"""Raw files of at most this many bytes together are hashed: that takes a second or two in each `prepare`."""


@dataclass(frozen=True)
class Piece:
    """A part of the interactions that one task reads; `first_row` counts within its file.

    `part` is TRAIN or TEST if the publisher split the data. It becomes the time of the interactions.
    """

    place: Place | None
    number: int
    first_row: int = 0
    part: int | None = None


@dataclass(frozen=True)
class Source:
    """Everything that is known before the first interaction is read.

    The pieces from `keyed_from` on give rows of KEYED, of which `interactions` keeps one for each key.
    """

    pieces: list[Piece]
    read: Callable[[Piece], Iterator[pa.Table]]
    """The rows of a piece as tables of READ, with `row` from 0. Raises InputError for bad input."""
    catalogue: Callable[[], pa.Table]
    """All listed items, rows of CATALOGUE; raises InputError for bad input."""
    has_times: bool = True
    has_ratings: bool = False
    files: list[tuple[str, int, str | int]] = field(default_factory=list)
    """State of the raw files, part of the fingerprint of `data/`."""
    listing: str = "items"
    """The name of the catalogue in a message."""
    keyed_from: int | None = None

    def interactions(self) -> "Dataset":
        """All interactions, rows of READ in no order."""
        end = len(self.pieces)
        first = end if self.keyed_from is None else self.keyed_from
        parts = [self._rows(0, first, READ)] if first else []
        if first < end:
            # A shuffle by key gives one block per partition, so a block has all rows of its keys.
            keyed = self._rows(first, end, KEYED).repartition(end - first, keys=["key"])
            parts.append(keyed.map_batches(one_of_each_key, batch_size=None, batch_format="pyarrow"))
        return parts[0].union(*parts[1:]) if parts[1:] else parts[0]

    def _rows(self, first: int, end: int, schema: pa.Schema) -> "Dataset":
        """The rows of the pieces from `first` on and before `end`."""
        import ray

        read = self.read
        pieces = ray.put(self.pieces)

        def read_pieces(batch: dict[str, np.ndarray]) -> Iterator[pa.Table]:
            for number in (batch["id"] + first).tolist():
                start = number * _ROWS_PER_PIECE
                piece = ray.get(pieces)[number]
                try:
                    for table in read(piece):
                        row = pc.add(table["row"], start)
                        yield table.set_column(READ.get_field_index("row"), READ.field("row"), row)
                except InputError as error:
                    yield _fault(str(error), start, schema)

        numbers = ray.data.range(end - first, override_num_blocks=end - first)
        return numbers.map_batches(read_pieces, batch_size=1, batch_format="numpy")

    def where(self, row: int) -> str:
        """The file, and the row in it from 1, for a value of `row`."""
        piece = self.pieces[row // _ROWS_PER_PIECE]
        return f"{piece.place}, row {piece.first_row + row % _ROWS_PER_PIECE + 1}"


def read_rows(users: Any, items: Any, times: pa.Table, ratings: Any, first_row: int) -> pa.Table:
    """Rows of READ without fault, from columns of equal length and rows of TIMES. `first_row` counts within the piece."""
    n = len(users)
    rows = pa.array(np.arange(first_row, first_row + n))
    time, fraction, written = times.columns
    faults = pa.nulls(n, pa.string())
    return pa.table([users, items, time, ratings, fraction, written, rows, faults], schema=READ)


def file_states(files: list[Place]) -> list[tuple[str, int, str | int]]:
    """Path, size in bytes and digest of each file, for the fingerprint.

    The time of change is not used: if the same files were copied again, LLMs would be tuned again. Only if the files are
    too large to be read before every run, the time of change in ns replaces the digest.
    """
    states = []
    with readable(files[0]):
        infos = [file.fs.get_file_info(file.path) for file in files]
    hashed = sum(info.size or 0 for info in infos) <= _HASHED
    for file, info in zip(files, infos, strict=True):
        with readable(file):
            states.append((info.path, info.size, _digest(file) if hashed else info.mtime_ns or 0))
    return states


def _digest(file: Place) -> str:
    found = blake2b(digest_size=16)
    for chunk in file.chunks():
        found.update(chunk)
    return found.hexdigest()


def one_of_each_key(block: pa.Table) -> pa.Table:
    """Rows of READ from those of KEYED: the first of each key."""
    first = block.group_by("key").aggregate([("row", "min")])["row_min"]
    return block.filter(pc.is_in(block["row"], first)).select(READ.names)


def _fault(fault: str, row: int, schema: pa.Schema) -> pa.Table:
    """One row of the schema with the message about bad input."""
    return pa.table({name: [None] for name in schema.names} | {"row": [row], "fault": [fault]}, schema=schema)
