"""Who would take an item that nobody took: the users whose history has the most similar texts."""

from dataclasses import dataclass

import numpy as np

from longtail.arrays import entries_between, latest, offsets_of
from longtail.data import read_histories
from longtail.data.catalogue import COLD
from longtail.recommenders.interactions import Histories
from longtail.recommenders.scoring.best_k import top_k
from longtail.text.text_similarity import TextSimilarity
from longtail.text.text_source import TextSource
from longtail.workspace.place import Place

LATEST = 50
"""Items of a history that count, the latest ones."""


@dataclass(frozen=True)
class Takers:
    """For each user the cold items that the user may take, by code: those of user u are at indptr[u] : indptr[u + 1].

    indptr int64 [users + 1]; items int32 [n]; places int32 [n]: how many users are more similar to this item; scores float32
    [n]: the sum of t over the latest items of the user (`text.text_similarity`).
    """

    indptr: np.ndarray
    items: np.ndarray
    places: np.ndarray
    scores: np.ndarray

    def of(self, user: int) -> slice:
        """Where the entries of a user are."""
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))


def read_takers(data: Place, texts: TextSource, count: int) -> Takers:
    """The `count` most similar users of every cold item in `data`, a published place. Runs as a Ray task.

    It takes a product of all histories with every cold item.
    """
    slices = np.asarray((data / "items.parquet").read_table(["slice"])["slice"].to_pylist())
    table = read_histories(data)
    ends = table["train_end"].to_numpy().astype(np.int64)
    _, items = entries_between(table["items"].combine_chunks(), np.zeros(len(table), np.int64), ends)
    histories = Histories(offsets_of(ends), items.astype(np.int32))
    return takers(TextSimilarity(texts()), histories, np.flatnonzero(slices == COLD), count)


def takers(similarity: TextSimilarity, histories: Histories, cold: np.ndarray, count: int) -> Takers:
    """For each item of `cold` int [m] the `count` users with the largest sum of t, of those with a sum above 0. Of equal
    ones the lower code comes first.
    """
    recent = latest_items(histories)
    taken = recent.matrix(np.ones(len(recent.items)), similarity.n_items)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for block, sums in similarity.sums_of_all(taken, cold):
        users, values = top_k(sums, min(count, sums.shape[1]))
        rows, places = np.nonzero((users >= 0) & (values > 0))
        parts.append((users[rows, places], block[rows], places, values[rows, places]))
    users, items, places, scores = map(np.concatenate, zip(*parts, strict=True))
    order = np.lexsort((items, users))
    counts = np.bincount(users.astype(np.int64), minlength=len(histories))
    columns = (items.astype(np.int32), places.astype(np.int32), scores.astype(np.float32))
    return Takers(offsets_of(counts), *(column[order] for column in columns))


def latest_items(histories: Histories) -> Histories:
    """The LATEST items of each history."""
    places, lengths = latest(histories.indptr, np.arange(len(histories)), LATEST)
    return Histories(offsets_of(lengths), histories.items[places])
