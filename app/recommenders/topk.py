"""The best k of a row of scores."""

import numba
import numpy as np


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row of float32 scores, best first: indices int32 [n, k], scores float32 [n,
    k].

    Equal scores stand in column order. A score of -inf or NaN is no candidate: index -1 and score -inf where
    a row has fewer than k.
    """
    found = np.full((len(scores), k), -1, np.int32)
    values = np.full((len(scores), k), -np.inf, np.float32)
    if k > 0:
        _insert(scores, found, values)
    return found, values


@numba.njit(nogil=True, cache=True)
def _insert(scores: np.ndarray, found: np.ndarray, values: np.ndarray) -> None:
    """Insertion into a sorted list: one comparison for nearly all columns, as few of them beat the k-th so
    far.
    """
    k = found.shape[1]
    for row in range(scores.shape[0]):
        best, which = values[row], found[row]
        worst = best[k - 1]
        for column in range(scores.shape[1]):
            score = scores[row, column]
            if score > worst:
                place = k - 1
                while place > 0 and score > best[place - 1]:
                    best[place], which[place] = best[place - 1], which[place - 1]
                    place -= 1
                best[place], which[place] = score, column
                worst = best[k - 1]
