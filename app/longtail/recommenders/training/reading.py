"""Reads prepared data as the inputs of a recommender.

Only for Ray tasks and trials: they may hold a table of all users, the driver may not.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.arrays import lengths_of, offsets_of, places_of, rows_of
from longtail.data import read_histories
from longtail.recipe import RecommenderSection
from longtail.recommenders.interactions import Interactions, Targets
from longtail.schema import STRENGTHS
from longtail.text.text_source import TextSource
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from longtail.recommenders.recommender import Recommender


def read_observed(data: Place, texts: TextSource | None = None) -> Interactions:
    """The training part of the histories in `data` (a published place): the training set of the variant `observed`.

    The weights are those in the column `schema.STRENGTHS`, or 1 if there is no such column. texts: by default the words
    alone.
    """
    histories = read_histories(data)
    items = data / "items.parquet"
    rows, taken, position = _flat(histories)
    train_end = histories["train_end"].to_numpy().astype(np.int64)
    trained = position < train_end[rows]
    return Interactions(
        indptr=offsets_of(train_end),
        items=taken[trained],
        weights=observed_weights(histories, trained),
        observed=train_end,
        n_items=pq.read_metadata(items.path, filesystem=items.fs).num_rows,
        texts=texts or TextSource(data),
    )


def observed_weights(histories: pa.Table, which: np.ndarray) -> np.ndarray:
    """The weights float32 of the interactions that `which` (bool, one per interaction of `histories`) selects."""
    if STRENGTHS.name not in histories.column_names:
        return np.ones(which.sum(), np.float32)
    return histories[STRENGTHS.name].combine_chunks().flatten().to_numpy()[which].astype(np.float32)


def observed_itemcf(data: Place, section: RecommenderSection) -> "Recommender":
    """ItemCF, fitted on the observed training interactions in `data`."""
    from longtail.recommenders import build

    return build("itemcf", section).fit(read_observed(data))


def read_validation(data: Place) -> Targets:
    """The validation items of all users in `data`, in the order of the users."""
    histories = read_histories(data)
    rows, taken, position = _flat(histories)
    train_end, valid_end = (histories[name].to_numpy() for name in ("train_end", "valid_end"))
    held_out = (position >= train_end[rows]) & (position < valid_end[rows])
    return Targets(rows[held_out], taken[held_out])


def _flat(histories: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each interaction its row int64 (one row per user), its item int32 and its position in the row int64."""
    items = histories["items"].combine_chunks()
    lengths = lengths_of(items)
    return rows_of(lengths), items.flatten().to_numpy(), places_of(lengths)
