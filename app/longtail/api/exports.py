"""Export results of a finished workspace with raw ids: recommendations for all users, neighbours of items, training sets.

Each result is one table. This process writes it batch by batch and never holds all users in memory.
"""

import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from longtail.api.table_file import writing
from longtail.arrays import lengths_of, offsets_of, places_of, rows_of
from longtail.data import Prepared
from longtail.errors import InputError
from longtail.progress import progress, tell
from longtail.recipe import Dataset, Recipe, Serving
from longtail.rounds import FIRST_ROUND, Round
from longtail.runtime.cluster import connect
from longtail.serving.messages.request_messages import MAX_K
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

RECOMMENDATIONS = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),  # from 1
        ("item_id", pa.string()),
        ("score", pa.float32()),
    ]
)
NEIGHBOURS = pa.schema(
    [
        ("recommender", pa.string()),
        ("variant", pa.string()),  # the variant of the training set that it was fitted on
        ("item_id", pa.string()),
        ("rank", pa.int32()),  # from 1
        ("neighbour_id", pa.string()),
        ("similarity", pa.float32()),
    ]
)
TRAINING_LOG = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("weight", pa.float32()),  # 0: observed, but rejected by the screening
        ("origin", pa.string()),  # observed | generated
        # position in the user's order of time, from 0; generated ones are last, except those of `insertion`
        ("position", pa.int32()),
        # dates: nanoseconds since 1970 in UTC; numbers: as in the log; null without times and for generated ones
        ("timestamp", pa.int64()),
    ]
)
USERS_AT_ONCE = 1024
SAVED_NEIGHBOURS = "neighbours.parquet"
"""The file with the neighbours of a fitted neighbour model."""


def write_recommendations(ws: Workspace, recipe: Recipe, k: int, to: Place) -> int:
    """Write what serving would answer each user, as rows of RECOMMENDATIONS. Returns the number of rows.

    A user has at most k items. Ray workers rank; the users are in no fixed order. Raises InputError if nothing can be
    served, or if k is less than 1 or more than `serving.candidates`.
    """
    check_k(recipe.serving, k)
    sources_of(ws, recipe.serving)
    connect(recipe.resources)
    prepared = Prepared(ws)
    ranked = (
        prepared.histories()
        .select_columns(["user", "user_id"])
        .map_batches(
            RankedUsers,
            fn_constructor_args=(ws.root.uri, recipe.serving, k),
            concurrency=recipe.resources.parallel,
            batch_size=USERS_AT_ONCE,
            batch_format="pyarrow",
        )
    )
    rows, users, began = 0, 0, time.monotonic()
    with writing(to, RECOMMENDATIONS) as write:
        for batch in ranked.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
            write(batch)
            rows += batch.num_rows
            users += pc.sum(pc.equal(batch["rank"], 1)).as_py() or 0
            tell(progress("recommendations", users, prepared.n_users, "users", time.monotonic() - began))
    return rows


def check_k(serving: Serving, k: int) -> None:
    most = min(serving.candidates, MAX_K)
    if not 1 <= k <= most:
        raise InputError(f"k = {k}: ask for 1 to {most} items (serving.candidates of the recipe).")


class RankedUsers:
    """Ranks items for batches of users in a Ray worker, which loads the workspace once."""

    def __init__(self, workspace: str, serving: Serving, k: int) -> None:
        ws = Workspace(workspace)
        self.k, self.here = k, Snapshot.read(ws, sources_of(ws, serving))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Takes the columns user and user_id. Returns rows of RECOMMENDATIONS."""
        ranking = self.here.of_users(batch["user"].to_numpy().astype(np.int64))
        items, scores = ranking.items[:, : self.k], ranking.scores[:, : self.k]
        rows, places = np.nonzero(items >= 0)
        columns = [
            batch["user_id"].take(pa.array(rows)),
            pa.array(places + 1, pa.int32()),
            self.here.items.ids.texts.take(pa.array(items[rows, places])).cast(pa.string()),
            pa.array(scores[rows, places], pa.float32()),
        ]
        return pa.table(columns, schema=RECOMMENDATIONS)


def write_neighbours(ws: Workspace, to: Place, round_: Round = FIRST_ROUND) -> int:
    """Write the neighbours of each item in each fitted neighbour model, as rows of NEIGHBOURS. Returns the number of rows.

    Raises InputError if no neighbour model was fitted.
    """
    fits = neighbour_fits(ws, round_)
    if not fits:
        raise InputError(
            f"{ws}: no fitted recommender keeps neighbours. Add itemcf, bm25, swing, ease or rp3beta to recommenders, and"
            " run it again."
        )
    item_ids = Prepared(ws).items["item_id"].combine_chunks()
    rows, began = 0, time.monotonic()
    with writing(to, NEIGHBOURS) as write:
        for done, place in enumerate(fits, start=1):
            variant, name = place.split("/")[-2:]
            named = partial(_neighbours, item_ids, name.rpartition("-")[0], variant)
            file = ws / place / SAVED_NEIGHBOURS
            with pq.ParquetFile(file.path, filesystem=file.fs) as saved:
                for batch in saved.iter_batches():
                    table = named(batch)
                    write(table)
                    rows += table.num_rows
            tell(progress("neighbours", done, len(fits), "models", time.monotonic() - began))
    return rows


def neighbour_fits(ws: Workspace, round_: Round = FIRST_ROUND) -> list[str]:
    """The folders of a round's fitted neighbour models, relative to the workspace."""
    fits = [place for place in ws.manifests() if place.startswith(round_.at("recommenders/"))]
    return [place for place in fits if (ws / place / SAVED_NEIGHBOURS).exists()]


def _neighbours(item_ids: pa.Array, recommender: str, variant: str, batch: pa.RecordBatch) -> pa.Table:
    lists = batch["neighbours"]
    lengths = lengths_of(lists)
    row = pa.array(rows_of(lengths))
    columns = [
        pa.repeat(pa.scalar(recommender), len(row)),
        pa.repeat(pa.scalar(variant), len(row)),
        item_ids.take(batch["item"].take(row)),
        pa.array(places_of(lengths) + 1, pa.int32()),
        item_ids.take(lists.flatten()),
        batch["scores"].flatten(),
    ]
    return pa.table(columns, schema=NEIGHBOURS)


def training_sets(ws: Workspace, round_: Round = FIRST_ROUND) -> list[str]:
    """The names of a round's training sets: a variant, or `variant-recommender` if the recommender has its own judge."""
    folder = round_.at("fused/")
    return [place.removeprefix(folder) for place in ws.manifests() if place.startswith(folder)]


def write_training_log(
    ws: Workspace, dataset: Dataset, training_set: str, to: Place, round_: Round = FIRST_ROUND
) -> int:
    """Write one training set, observed and generated interactions, as rows of TRAINING_LOG. Returns the number of rows.

    Raises InputError if there is no such training set, or if a file of it is missing.
    """
    if training_set not in (known := training_sets(ws, round_)):
        raise InputError(f"{ws}: no training set {training_set!r}, but {', '.join(known) or 'none'}.")
    prepared, fused = Prepared(ws, round_.data), ws / round_.at(f"fused/{training_set}")
    item_ids = prepared.items["item_id"].combine_chunks()
    histories = pads.dataset((prepared.place / "histories").path, filesystem=fused.fs, format="parquet")
    files = (fused / "interactions").files(".parquet")
    rows, began = 0, time.monotonic()
    with writing(to, TRAINING_LOG) as write:
        for done, file in enumerate(files, start=1):
            entries = file.read_table().sort_by("user")
            users = entries["user"]
            near = (pads.field("user") >= users[0].as_py()) & (pads.field("user") <= users[-1].as_py())
            known = histories.to_table(columns=["user", "user_id", "timestamps"], filter=near).sort_by("user")
            table = _training_log(entries, known.filter(pc.is_in(known["user"], users)), item_ids, dataset)
            write(table)
            rows += table.num_rows
            about = f"training log {training_set}"
            tell(progress(about, done, len(files), "files", time.monotonic() - began))
        counts = read_manifest(fused)["counts"]
        if rows != (counted := counts["observed"] + counts["generated"]):
            raise InputError(
                f"{fused}: {rows} interactions, but its manifest counts {counted}. A file is lost: run longtail fuse again."
            )
    return rows


def _training_log(entries: pa.Table, known: pa.Table, item_ids: pa.Array, dataset: Dataset) -> pa.Table:
    """Rows of TRAINING_LOG. entries: rows of schema.FUSED; known: user_id and timestamps of the same users. Both are sorted
    by user.
    """
    lists = entries["items"].combine_chunks()
    lengths = lengths_of(lists)
    row, step = rows_of(lengths), places_of(lengths)
    observed = step < entries["observed"].to_numpy()[row]
    position, sequence = step.copy(), entries["sequence"].combine_chunks()
    if sequence.null_count < len(sequence):
        starts = offsets_of(lengths)[row]
        position[sequence.flatten().to_numpy() + starts] = step
    times = known["timestamps"].combine_chunks()
    first = offsets_of(lengths_of(times))
    of_entry = np.where(observed, first[row] + step, 0)
    timestamps = (
        pc.if_else(pa.array(observed), times.flatten().take(pa.array(of_entry)), pa.scalar(None, pa.int64()))
        if has_times(dataset)
        else pa.nulls(len(row), pa.int64())
    )
    columns: list[Any] = [
        known["user_id"].take(pa.array(row)),
        item_ids.take(lists.flatten()),
        entries["weights"].combine_chunks().flatten(),
        pa.array(np.where(observed, "observed", "generated")),
        pa.array(position, pa.int32()),
        timestamps,
    ]
    return pa.table(columns, schema=TRAINING_LOG)


def has_times(dataset: Dataset) -> bool:
    """Whether the log has times. If it has none, `prepare` numbers the interactions, and these numbers are no timestamps."""
    if dataset.source in ("parquet", "csv", "recbole"):
        return dataset.columns.time is not None and dataset.split != "published"
    return dataset.source in ("simulated", "movielens")
