"""The best k of a row of scores."""

import numba
import numpy as np

CHUNK = 64
"""The number of scores that are compared together. It is small, so the search in a chunk with a better score is short."""


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row of float32 scores, best first: indices int32 [n, k], scores float32 [n, k].

    Equal scores are in column order. A score of -inf or NaN is not a candidate. If a row has fewer than k candidates,
    the rest has index -1 and score -inf.
    """
    found = np.full((len(scores), k), -1, np.int32)
    values = np.full((len(scores), k), -np.inf, np.float32)
    if k > 0:
        merge(scores, 0, found, values)
    return found, values


@numba.njit(nogil=True, cache=True)
def merge(scores: np.ndarray, first: int, found: np.ndarray, values: np.ndarray) -> None:
    """Merge the float32 scores [rows, width] of the columns from `first` on into the best ones so far: found int32 and
    values float32 [rows, k], the best of the columns before `first`; k >= 1.

    A better score is inserted into the sorted list. Few scores are better than the k-th best so far, so most chunks
    are skipped after one comparison of all their scores.
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
