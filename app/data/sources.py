"""Where interactions come from: one `Source` per kind, the same two tables from each.

Readers run as Ray Data tasks over `pieces` (a block of simulated users, a Parquet row group, a file). A task that
meets bad input does not fail: it yields one row that says what is wrong, so that `prepare` can raise one clear error.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from app.errors import InputError
from app.recipe import Recipe
from app.schema import INTERACTIONS
from app.workspace import Place, Workspace

if TYPE_CHECKING:
    from ray.data import Dataset

READ = INTERACTIONS.append(pa.field("row", pa.int64())).append(pa.field("fault", pa.string()))
"""`row` orders rows as the publisher wrote them; where `fault` is not null the other columns mean nothing."""

CATALOGUE = pa.schema(
    [("item_id", pa.string()), ("title", pa.string()), ("attributes", pa.map_(pa.string(), pa.string()))]
)

_ROWS_PER_PIECE = 1 << 40


@dataclass(frozen=True)
class Piece:
    """A part of the interactions that one task reads; `first_row` counts within its file."""

    place: Place | None
    number: int
    first_row: int = 0


Reader = Callable[[Piece], Iterator[pa.Table]]
"""Reads a piece, in order, as tables of READ whose `row` starts at 0 with the piece."""


@dataclass(frozen=True)
class Source:
    """What is known before a row of the interactions is read: pieces, reader, catalogue [CATALOGUE].

    `files` are the state of the raw files (name, bytes, time of change), part of the fingerprint of `data/`.
    """

    pieces: list[Piece]
    read: Reader
    catalogue: Callable[[], pa.Table]
    has_times: bool = True
    has_ratings: bool = False
    files: list[Any] = field(default_factory=list)

    def interactions(self) -> "Dataset":
        """All interactions, rows of READ in any order."""
        import ray

        read = self.read
        pieces = ray.put(self.pieces)

        def read_piece(batch: dict[str, np.ndarray]) -> Iterator[pa.Table]:
            for order in batch["id"]:
                start = int(order) * _ROWS_PER_PIECE
                try:
                    for table in read(ray.get(pieces)[order]):
                        row = pa.compute.add(table["row"], start)
                        yield table.set_column(READ.get_field_index("row"), "row", row).cast(READ)
                except InputError as error:
                    yield fault_row(str(error), start)

        blocks = ray.data.range(len(self.pieces), override_num_blocks=len(self.pieces))
        return blocks.map_batches(read_piece, batch_size=1, batch_format="numpy")


    def where(self, row: int) -> str:
        """File and row, counted from 1, of a value of `row`."""
        piece = self.pieces[row // _ROWS_PER_PIECE]
        return f"{piece.place}, row {piece.first_row + row % _ROWS_PER_PIECE + 1}"


def open_source(recipe: Recipe) -> Source:
    """The source that the recipe names.

    Raises InputError for a missing folder, file or column and for an empty table, before anything is read.
    """
    from app.data import movielens, tables

    dataset = recipe.dataset
    if dataset.source == "simulated":
        return _simulated(recipe)
    if dataset.path is None:
        raise InputError(f"dataset.path is missing: source '{dataset.source}' reads a folder. Set dataset.path.")
    folder = Workspace(dataset.path).root
    if not folder.exists():
        raise InputError(f"dataset.path: {folder} does not exist. Set dataset.path to the folder with the raw files.")
    source = (
        movielens.open_movielens(folder) if dataset.source == "movielens" else tables.open_tables(folder, dataset)
    )
    if dataset.min_rating is not None and not source.has_ratings:
        raise InputError(
            f"dataset.min_rating = {dataset.min_rating}, but no column has ratings: "
            "set dataset.columns.rating, or min_rating to null."
        )
    if dataset.split == "temporal" and not source.has_times:
        raise InputError("dataset.split = temporal needs times: set dataset.columns.time, or split to leave-one-out.")
    return source


def _simulated(recipe: Recipe) -> Source:
    from app.data import simulate

    simulation, seed = recipe.dataset.simulation, recipe.seed
    if recipe.dataset.min_rating is not None:
        raise InputError("dataset.min_rating is set, but the simulated store has no ratings. Set it to null.")
    simulate.make_store(simulation, seed)

    def read(piece: Piece) -> Iterator[pa.Table]:
        store = simulate.make_store(simulation, seed)
        yield read_rows(simulate.simulate_histories(store, simulation, seed, piece.number), 0)

    blocks = -(-simulation.users // simulate.BLOCK_USERS)
    return Source([Piece(None, block) for block in range(blocks)], read, lambda: simulate.catalogue(simulate.make_store(simulation, seed), seed))


def read_rows(interactions: pa.Table, first_row: int) -> pa.Table:
    """Rows of READ without fault from rows of schema.INTERACTIONS."""
    n = interactions.num_rows
    return interactions.append_column("row", pa.array(np.arange(first_row, first_row + n))).append_column(
        "fault", pa.nulls(n, pa.string())
    )


def fault_row(fault: str, first_row: int) -> pa.Table:
    """The one row of READ that says what is wrong."""
    return pa.table(
        {name: [None] for name in INTERACTIONS.names} | {"row": [first_row], "fault": [fault]}, schema=READ
    )


def file_states(files: list[Place]) -> list[tuple[str, int, int]]:
    """Path, bytes and time of change of each file: what tells that it is another one."""
    infos = [file.fs.get_file_info(file.path) for file in files]
    return [(info.path, info.size, info.mtime_ns or 0) for info in infos]
