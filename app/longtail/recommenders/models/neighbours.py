"""Item-to-item recommendation: what ItemCF and Swing share once the similarities are there.

The score of item i for a user is the sum over the items j of the history of recency^steps_back(j) * s(j, i),
where i is one of the nearest neighbours of j (papers 5.2, LLM-I2I's serving in 1.5).
"""

import os
import sys
from typing import Self

import numba
import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from longtail.arrays import lengths_of, lists_of, offsets_of, rows_of
from longtail.errors import InputError
from longtail.recipe.tuning import Axis
from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender
from longtail.workspace.place import Place

NEIGHBOURS: Axis = [20, 50, 100, 200]
RECENCY: Axis = [0.6, 0.7, 0.8, 0.9, 1.0]
"""What of these settings is worth a search."""


class Neighbours(Recommender):
    """Scores by an item x item CSR matrix whose row j holds the neighbours of j, best first.

    An item that is no neighbour of any item of the history is no candidate. The similarities are kept once, in
    `neighbours.parquet`: item int32, neighbours list<int32>, scores list<float32>, one row per item, best first.
    Whatever serves recommendations elsewhere can read that. The section of such a model has `neighbours` and `recency`.
    """

    similarity: csr_matrix

    def similar_items(self, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours of `items` int [n]: items int32 [n, k], best first, -1 where there are fewer than k; their
        similarities float32, -inf there. No more are known than the recipe's `neighbours`.
        """
        items = np.asarray(items, np.int64)
        if len(items) and not 0 <= items.min() <= items.max() < self.n_items:
            raise InputError(f"items: {items.min()}..{items.max()}, the catalogue has 0..{self.n_items - 1}.")
        found = self.similarity[items]
        rows = rows_of(np.diff(found.indptr))
        places = np.arange(found.nnz) - found.indptr[rows]
        near = places < k
        neighbours = np.full((len(items), k), -1, np.int32)
        scores = np.full((len(items), k), -np.inf, np.float32)
        neighbours[rows[near], places[near]] = found.indices[near]
        scores[rows[near], places[near]] = found.data[near]
        return neighbours, scores

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        scores = self._sums(histories).toarray()
        scores[scores <= 0] = -np.inf
        return scores

    def affinities(self, histories: Histories, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The scores of items int [n] after the histories of rows int [n]: float32 [n], 0 where they share nothing."""
        if not len(items):  # SciPy answers an empty question with a matrix
            return np.zeros(0, np.float32)
        return np.asarray(self._sums(histories)[rows, items], np.float32).ravel()

    def _sums(self, histories: Histories) -> csr_matrix:
        weights = self.section.recency ** histories.steps_back.astype(np.float32)
        return histories.matrix(weights, self.n_items) @ self.similarity

    def _top(
        self, histories: Histories, users: np.ndarray | None, k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As every recommender's, but over the neighbours met alone: of a large catalogue they are few."""
        sums = self._sums(histories)
        seen = histories if exclude_seen else histories.emptied()
        items = np.full((len(histories), k), -1, np.int32)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        _best_of_rows(sums.indptr, sums.indices, sums.data, seen.indptr, seen.items, items, scores)
        return items, scores

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        return

    def save(self, place: Place) -> None:
        super().save(place)
        columns = {
            "item": pa.array(np.arange(self.n_items), pa.int32()),
            "neighbours": lists_of(self.similarity.indptr, self.similarity.indices.astype(np.int32)),
            "scores": lists_of(self.similarity.indptr, self.similarity.data.astype(np.float32)),
        }
        (place / "neighbours.parquet").write_table(pa.table(columns))

    def load(self, place: Place) -> Self:
        super().load(place)
        table = (place / "neighbours.parquet").read_table().combine_chunks()
        lists = table["neighbours"].combine_chunks()
        starts = offsets_of(lengths_of(lists))
        scores = table["scores"].combine_chunks().flatten().to_numpy()
        self.similarity = csr_matrix(
            (scores, lists.flatten().to_numpy(), starts), shape=(self.n_items, self.n_items)
        )
        return self


def neighbour_matrix(items: np.ndarray, scores: np.ndarray, n_items: int) -> csr_matrix:
    """CSR from lists of the best, [rows, k]: entries of index -1 or without a positive score are left out."""
    kept = (items >= 0) & (scores > 0)
    indptr = offsets_of(kept.sum(axis=1))
    return csr_matrix((scores[kept], items[kept], indptr), shape=(len(items), n_items))


def own_threads() -> int:
    """Threads for a fit: one per core, but one where Ray is joined, for Ray hands out the cores."""
    ray = sys.modules.get("ray")
    return 1 if ray and ray.is_initialized() else len(os.sched_getaffinity(0))


@numba.njit(nogil=True, cache=True)
def insert(code: int, score: float, which: np.ndarray, best: np.ndarray) -> None:
    """Into lists of the best k so far, int32 and float32; equal scores stand by code.

    Nearly always one comparison, as few beat the k-th.
    """
    place = len(best)
    while place > 0 and (score > best[place - 1] or (score == best[place - 1] and code < which[place - 1])):
        if place < len(best):
            best[place], which[place] = best[place - 1], which[place - 1]
        place -= 1
    if place < len(best):
        best[place], which[place] = score, code


@numba.njit(nogil=True, cache=True)
def _best_of_rows(
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    seen_starts: np.ndarray,
    seen: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
) -> None:
    """The best positive values of each CSR row that are not `seen`, into items and scores [rows, k]."""
    for row in range(len(items)):
        own = set(seen[seen_starts[row] : seen_starts[row + 1]])
        for p in range(starts[row], starts[row + 1]):
            if values[p] > 0 and columns[p] not in own:
                insert(columns[p], values[p], items[row], scores[row])
