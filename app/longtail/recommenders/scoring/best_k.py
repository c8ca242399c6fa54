"""The best k of a row of scores."""

import numba
import numpy as np

CHUNK = 64
"""Scores looked at together: few enough that the search in a chunk that holds a better one is short."""


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row of float32 scores, best first: indices int32 [n, k], scores float32 [n,
    k].

    Equal scores stand in column order. A score of -inf or NaN is no candidate: index -1 and score -inf where
    a row has fewer than k.
    """
    found = np.full((len(scores), k), -1, np.int32)
    values = np.full((len(scores), k), -np.inf, np.float32)
    if k > 0:
        merge(scores, 0, found, values)
    return found, values


@numba.njit(nogil=True, cache=True)
def merge(scores: np.ndarray, first: int, found: np.ndarray, values: np.ndarray) -> None:
    """Merge float32 scores [rows, width] of the columns from `first` on into found int32 and values float32 [rows, k],
    the best of the columns before; k >= 1.

    By insertion into sorted lists. Few scores beat the k-th best so far, so whole chunks are passed by with one
    comparison of many scores at a time.
    """
    k, width = found.shape[1], scores.shape[1]
    for row in range(scores.shape[0]):
        own, best, which = scores[row], values[row], found[row]
        worst = best[k - 1]
        for start in range(0, width, CHUNK):
            end = min(start + CHUNK, width)
            better = False
            for column in range(start, end):
                better |= own[column] > worst
            if not better:
                continue
            for column in range(start, end):
                score = own[column]
                if score > worst:
                    place = k - 1
                    while place > 0 and score > best[place - 1]:
                        best[place], which[place] = best[place - 1], which[place - 1]
                        place -= 1
                    best[place], which[place] = score, first + column
                    worst = best[k - 1]
