"""What a finished workspace holds, with raw ids: recommendations for all users, neighbours of items, training logs.

Each is one table that goes through this process batch by batch; users are never held all at once.
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
from longtail.runtime.cluster import connect
from longtail.serving.recommendation import Recommendations, to_serve
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
        ("variant", pa.string()),  # the training set that it was fitted on
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
        ("weight", pa.float32()),  # 0: observed, but screened out
        ("origin", pa.string()),  # observed | generated
        # place in the user's order of time, from 0; generated ones stand last, but for those of `insertion`
        ("position", pa.int32()),
        # nanoseconds since 1970 in UTC of a date, else the number that the log has; null if it has none, and if generated
        ("timestamp", pa.int64()),
    ]
)
USERS_AT_ONCE = 1024
SAVED_NEIGHBOURS = "neighbours.parquet"
"""The file in which a fitted model of neighbours keeps them."""


def write_recommendations(ws: Workspace, recipe: Recipe, k: int, to: Place) -> int:
    """What serving would answer each user, k items or fewer, rows of RECOMMENDATIONS; how many were written.

    Ray ranks; users stand in no order. Raises InputError if nothing can be served, or k is beyond `serving.candidates`.
    """
    check_k(recipe.serving, k)
    to_serve(ws, recipe.serving)
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
    if not 1 <= k <= serving.candidates:
        raise InputError(
            f"k = {k}: ask for 1 to {serving.candidates} items (serving.candidates of the recipe)."
        )


class RankedUsers:
    """Users to their recommendations, in a worker of Ray that has loaded the workspace once."""

    def __init__(self, workspace: str, serving: Serving, k: int) -> None:
        ws = Workspace(workspace)
        self.k, self.here = k, Recommendations(ws, serving)
        self.item_ids = Prepared(ws).items["item_id"].combine_chunks()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Columns user and user_id to rows of RECOMMENDATIONS."""
        items, scores = self.here.best(batch["user"].to_numpy().astype(np.int64), self.k)
        rows, places = np.nonzero(items >= 0)
        columns = [
            batch["user_id"].take(pa.array(rows)),
            pa.array(places + 1, pa.int32()),
            self.item_ids.take(pa.array(items[rows, places])),
            pa.array(scores[rows, places], pa.float32()),
        ]
        return pa.table(columns, schema=RECOMMENDATIONS)


def write_neighbours(ws: Workspace, to: Place) -> int:
    """The neighbours of every item in every fitted model of neighbours, rows of NEIGHBOURS; how many were written.

    Raises InputError if no such model was fitted.
    """
    fits = neighbour_fits(ws)
    if not fits:
        raise InputError(
            f"{ws}: no fitted recommender keeps neighbours. Add itemcf, bm25 or swing to recommenders, and run it again."
        )
    item_ids = Prepared(ws).items["item_id"].combine_chunks()
    rows, began = 0, time.monotonic()
    with writing(to, NEIGHBOURS) as write:
        for done, place in enumerate(fits, start=1):
            variant, _, name = place.removeprefix("recommenders/").partition("/")
            named = partial(_neighbours, item_ids, name.rpartition("-")[0], variant)
            file = ws / place / SAVED_NEIGHBOURS
            with pq.ParquetFile(file.path, filesystem=file.fs) as saved:
                for batch in saved.iter_batches():
                    table = named(batch)
                    write(table)
                    rows += table.num_rows
            tell(progress("neighbours", done, len(fits), "models", time.monotonic() - began))
    return rows


def neighbour_fits(ws: Workspace) -> list[str]:
    """Where the fitted models lie that keep neighbours of items, relative to the workspace."""
    fits = [place for place in ws.manifests() if place.startswith("recommenders/")]
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


def training_sets(ws: Workspace) -> list[str]:
    """The names of the training sets: a variant, or `variant-recommender` if that one has a judge of its own."""
    return [place.removeprefix("fused/") for place in ws.manifests() if place.startswith("fused/")]


def write_training_log(ws: Workspace, dataset: Dataset, training_set: str, to: Place) -> int:
    """One training set, observed and generated interactions, rows of TRAINING_LOG; how many were written.

    Raises InputError if there is no such training set.
    """
    if training_set not in (known := training_sets(ws)):
        raise InputError(f"{ws}: no training set {training_set!r}, but {', '.join(known) or 'none'}.")
    prepared, fused = Prepared(ws), ws / f"fused/{training_set}"
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
                f"{fused}: {rows} interactions, but its manifest counts {counted}: a file is lost. Run longtail fuse again."
            )
    return rows


def _training_log(entries: pa.Table, known: pa.Table, item_ids: pa.Array, dataset: Dataset) -> pa.Table:
    """Rows of schema.FUSED, and of the same users user_id and timestamps, both sorted by user."""
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
    """Whether the log has times at all; without them its timestamps are numbers of our own."""
    if dataset.source in ("parquet", "csv", "recbole"):
        return dataset.columns.time is not None and dataset.split != "published"
    return dataset.source in ("simulated", "movielens")
