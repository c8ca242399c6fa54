"""The kinds of sources that a recipe can name."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa

from longtail.data.event_source import open_events, with_events
from longtail.data.files import locate, readable
from longtail.data.movielens import open_movielens
from longtail.data.number_files import open_lightgcn, open_sasrec
from longtail.data.source import Piece, Source, read_rows
from longtail.data.tables import SUFFIXES as TABLES
from longtail.data.tables import open_tables
from longtail.data.times import numbered
from longtail.errors import InputError
from longtail.recipe import Dataset, Recipe, Simulation
from longtail.workspace.place import Place

OPENERS: dict[str, tuple[Callable[[Place, Dataset], Source], str]] = {
    "movielens": (open_movielens, ""),
    "parquet": (open_tables, "parquet"),
    "csv": (open_tables, "csv"),
    "recbole": (open_tables, "inter"),
    "lightgcn": (open_lightgcn, "txt"),
    "sasrec": (open_sasrec, "txt"),
    "events": (open_events, ""),
}
"""By the name of a source in a recipe: what opens its folder, and the suffix of a log, which may be a folder of parts."""
SPLIT_BY_PUBLISHER = (*TABLES, "lightgcn")
"""Sources that can have a test file."""


def open_source(recipe: Recipe) -> Source:
    """The source that the recipe names.

    Raises InputError for a missing folder, file or column and for an empty table, before anything is read.
    """
    dataset = recipe.dataset
    _check_split(dataset)
    _check_text(dataset)
    if dataset.source == "simulated":
        source = _open_simulated(dataset.simulation, recipe.seed)
    elif dataset.path is None:
        raise InputError(
            f"dataset.path is missing: source '{dataset.source}' reads a folder. Set dataset.path."
        )
    else:
        opener, suffix = OPENERS[dataset.source]
        folder, dataset = locate(dataset, suffix)
        source = _guarded(opener(folder, dataset))
        _check_pieces(source)
    if dataset.events is not None and dataset.source != "events":
        source = _guarded(with_events(source, dataset))
    if dataset.min_rating is not None and not source.has_ratings:
        raise InputError(
            f"dataset.min_rating = {dataset.min_rating}, but the source '{dataset.source}' has no ratings. "
            "Set dataset.columns.rating, or min_rating to null."
        )
    if dataset.split == "temporal" and not source.has_times:
        raise InputError(
            "dataset.split = temporal needs times. Set dataset.columns.time, or split to leave-one-out."
        )
    return source


def _guarded(source: Source) -> Source:
    """The same source. Errors of Arrow and of the system while it is read become an InputError that names the file."""

    def read(piece: Piece) -> Iterator[pa.Table]:
        with readable(piece.place):
            yield from source.read(piece)

    def catalogue() -> pa.Table:
        with readable(source.listing):
            return source.catalogue()

    return replace(source, read=read, catalogue=catalogue)


def _check_text(dataset: Dataset) -> None:
    """Raise InputError for a setting of text files that the source does not read."""
    readers = {"delimiter": ("csv",), "quote": ("csv",), "escape": ("csv",), "encoding": ("csv", "recbole")}
    for setting, sources in readers.items():
        value = getattr(dataset, setting)
        if value != Dataset.model_fields[setting].default and dataset.source not in sources:
            raise InputError(
                f"dataset.{setting} = {value!r} is only read by the source {' or '.join(sources)}, this is "
                f"{dataset.source}. Remove it, or set dataset.source."
            )


def _check_pieces(source: Source) -> None:
    """Raise InputError if one file is both the train and the test part of a published split."""
    parts: dict[str, int | None] = {}
    for piece in source.pieces:
        if parts.setdefault(piece.place.path, piece.part) != piece.part:
            raise InputError(
                f"{piece.place} is both train and test. Set dataset.interactions and dataset.test."
            )


def _check_split(dataset: Dataset) -> None:
    if dataset.split == "published" and dataset.source not in SPLIT_BY_PUBLISHER:
        raise InputError(
            f"dataset.split = published, but the source '{dataset.source}' has no test file. Set split to leave-one-out, "
            f"or source to one of {', '.join(SPLIT_BY_PUBLISHER)}."
        )
    if dataset.split != "published" and dataset.source == "lightgcn":
        raise InputError(
            f"dataset.split = {dataset.split}, but LightGCN files have no times. Set split to published."
        )
    if dataset.split == "published" and dataset.repeats != "first":
        raise InputError(
            f"dataset.repeats = {dataset.repeats}, but a published split has no times. Set repeats to first."
        )
    if dataset.split == "cold" and dataset.repeats not in ("first", "last"):
        raise InputError(
            f"dataset.repeats = {dataset.repeats}, but a cold split has every item of a user once. Set repeats to first or"
            " last."
        )
    if dataset.time_unit and (dataset.split == "published" or dataset.source not in TABLES):
        raise InputError(
            f"dataset.time_unit = {dataset.time_unit}, but only the times of {', '.join(TABLES)} are read with it. "
            "Set time_unit to null."
        )
    if dataset.split != "published" and dataset.test:
        raise InputError(
            f"dataset.test = {dataset.test!r} is only read by a published split. Set split to published."
        )


def _open_simulated(simulation: Simulation, seed: int) -> Source:
    from longtail.data.simulated_items import catalogue, make_store
    from longtail.data.simulation import BLOCK_USERS, simulate_histories

    make_store(simulation, seed)

    def read(piece: Piece) -> Iterator[pa.Table]:
        users, items, times, ratings = simulate_histories(simulation, seed, piece.number).columns
        yield read_rows(users, items, numbered(times.to_numpy()), ratings, 0)

    blocks = range(-(-simulation.users // BLOCK_USERS))
    return Source([Piece(None, block) for block in blocks], read, partial(catalogue, simulation, seed))
