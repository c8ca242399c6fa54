"""Ranking by dot products in one pass: the best k items of many users without a users x items matrix.

For U users, I items and d dimensions, the minimal work is a matrix product of 2 U I d FLOPs at the speed of sgemm, and
one comparison of each of the U I scores while it is in the cache. So sgemm writes the scores of a tile (users x items)
into a buffer that stays in the L2 cache of a core. There they are compared, many at a time, with the k-th best score of
the user so far. Only a better score costs more, which happens about k ln(I / k) times per user. With 64 dimensions the
matrix product takes half of the time.
"""

from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

from longtail.recommenders.interactions import Histories
from longtail.recommenders.scoring.best_k import merge
from longtail.recommenders.scoring.candidate_items import CandidateRecommender, Candidates

TILE_USERS = 256
"""Users of a tile. sgemm first copies each tile of items into its own layout; this number of users share the copy."""
TILE_SCORES = 2**17
"""Scores of a tile: 512 KiB of float32. The larger part of an L2 cache (1 to 2 MiB) is left for queries and items."""
USERS_AT_ONCE = 2**13
"""The number of users whose queries are in memory at a time: 2 MiB at 64 dimensions, and enough tiles for all threads."""


class DotRecommender(CandidateRecommender):
    """A `Recommender` whose score is the dot product of the query of a user and the vector of an item.

    A user without history has no candidates.
    """

    items: np.ndarray
    """float32 [n_items, d]."""
    rows_at_once = USERS_AT_ONCE

    @property
    def item_vectors(self) -> np.ndarray:
        return self.items

    @abstractmethod
    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """The queries, float32 [rows, d]. `users` int [rows] are the codes of the users, or None if they are not in the
        training set.
        """

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        scores = self.candidates.ranked(self.queries(histories, users) @ self.items.T)
        scores[histories.lengths == 0] = -np.inf
        return scores

    def score_pairs(
        self, histories: Histories, users: np.ndarray | None, candidates: np.ndarray
    ) -> np.ndarray:
        """As `Recommender.score_pairs`. The vectors of all candidates, float32 [rows, m, d], are in memory at once."""
        scores = np.einsum("rd,rmd->rm", self.queries(histories, users), self.items[candidates])
        scores = self.candidates.ranked(scores, candidates)
        scores[histories.lengths == 0] = -np.inf
        return scores

    def _top(
        self, histories: Histories, users: np.ndarray | None, k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        masked = histories if exclude_seen else histories.emptied()
        found, values = best_products(self.queries(histories, users), self.items, k, masked, self.candidates)
        empty = histories.lengths == 0
        found[empty], values[empty] = -1, -np.inf
        return found, values


def best_products(
    queries: np.ndarray, items: np.ndarray, k: int, masked: Histories, candidates: Candidates
) -> tuple[np.ndarray, np.ndarray]:
    """The k items with the largest dot product for each query, in the form that `top_k` returns.

    queries float32 [rows, d], items float32 [n, d]. The items of each row in `masked` are left out, and those that are not
    `candidates`, whose bias is added. The number of threads is that of BLAS.
    """
    queries, items = (np.ascontiguousarray(array, np.float32) for array in (queries, items))
    found = np.full((len(queries), min(k, len(items))), -1, np.int32)
    values = np.full(found.shape, -np.inf, np.float32)

    def rank(start: int) -> None:
        rows = slice(start, start + TILE_USERS)
        own = masked.take(np.arange(len(queries))[rows])
        _rank_rows(queries[rows], items, own, candidates, found[rows], values[rows])

    starts = range(0, len(queries), TILE_USERS) if found.size else range(0)
    threads = min(len(starts), _blas_threads())
    if threads < 2:
        for start in starts:
            rank(start)
    else:
        with _blas().limit(limits=1), ThreadPoolExecutor(threads) as pool:
            list(pool.map(rank, starts))
    missing = ((0, 0), (0, k - found.shape[1]))
    return np.pad(found, missing, constant_values=-1), np.pad(values, missing, constant_values=-np.inf)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _blas_threads() -> int:
    return max((library["num_threads"] for library in _blas().info()), default=1)


def _rank_rows(
    queries: np.ndarray,
    items: np.ndarray,
    masked: Histories,
    candidates: Candidates,
    found: np.ndarray,
    values: np.ndarray,
) -> None:
    """Fill found int32 and values float32 [rows, k], one tile after the other."""
    left_out, by_text, bias = candidates.left_out, candidates.by_text, np.float32(candidates.bias)
    order = np.lexsort((masked.items, masked.rows))
    seen, next_seen = masked.items[order], masked.indptr[:-1].copy()
    width = TILE_SCORES // len(queries)
    buffer = np.empty(min(width, len(items)) * len(queries), np.float32)
    for start in range(0, len(items), width):
        tile = items[start : start + width]
        scores = buffer[: len(queries) * len(tile)].reshape(len(queries), len(tile))
        np.matmul(queries, tile.T, out=scores)
        out, moved = (
            own[slice(*np.searchsorted(own, (start, start + len(tile))))] for own in (left_out, by_text)
        )
        _mask(scores, start, seen, next_seen, masked.indptr[1:], out, moved, bias)
        merge(scores, start, found, values)


@numba.njit(nogil=True, cache=True)
def _mask(
    scores: np.ndarray,
    first: int,
    seen: np.ndarray,
    next_seen: np.ndarray,
    seen_end: np.ndarray,
    left_out: np.ndarray,
    moved: np.ndarray,
    bias: np.float32,
) -> None:
    """Set to -inf the scores of seen and `left_out` items, and add `bias` to those that are `moved`, both int, ascending.
    `scores` [rows, width] are those of the items from `first` on.

    The seen items of row r are seen[next_seen[r] : seen_end[r]], ascending. `next_seen` is moved to the first seen
    item after this tile.
    """
    beyond = first + scores.shape[1]
    for row in range(scores.shape[0]):
        for item in left_out:
            scores[row, item - first] = -np.inf
        for item in moved:
            scores[row, item - first] += bias
        while next_seen[row] < seen_end[row] and seen[next_seen[row]] < beyond:
            scores[row, seen[next_seen[row]] - first] = -np.inf
            next_seen[row] += 1
