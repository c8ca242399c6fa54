"""The nearest items of every item: exactly, from the dot products of columns or from similarities that are there."""

import os
import sys

import numpy as np
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.sparse import csr_matrix

from longtail.arrays import offsets_of, rows_of


def nearest_items(ratings: csr_matrix, k: int) -> csr_matrix:
    """The k largest dot products of each column of users x items with the other columns: items x items, best first."""
    # One more than is kept, because the item itself is one of them.
    model = ItemItemRecommender(K=k + 1, num_threads=own_threads())
    model.fit(ratings, show_progress=False)
    return nearest(model.similarity, k)


def nearest(similarity: csr_matrix, k: int, first: int = 0) -> csr_matrix:
    """The k largest positive entries of each row, best first, without the item itself. Row r is item first + r."""
    rows = rows_of(np.diff(similarity.indptr))
    other = (rows + first != similarity.indices) & (similarity.data > 0)
    rows, columns, values = rows[other], similarity.indices[other], similarity.data[other]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    near = np.arange(len(rows)) - np.searchsorted(rows, rows) < k
    lengths = np.bincount(rows[near], minlength=similarity.shape[0])
    indptr = offsets_of(lengths)
    return csr_matrix((values[near].astype(np.float32), columns[near], indptr), shape=similarity.shape)


def own_threads() -> int:
    """The number of threads for a fit: one per core, or one if Ray is initialised, because Ray assigns the cores."""
    ray = sys.modules.get("ray")
    return 1 if ray and ray.is_initialized() else len(os.sched_getaffinity(0))


def best_first(similarity: csr_matrix) -> csr_matrix:
    """The same entries in float32; those of each row are in descending order, equal ones in that of their columns."""
    rows = rows_of(np.diff(similarity.indptr))
    order = np.lexsort((similarity.indices, -similarity.data, rows))
    return csr_matrix(
        (similarity.data[order].astype(np.float32), similarity.indices[order], similarity.indptr),
        shape=similarity.shape,
    )


def usual_best(similarity: csr_matrix) -> float:
    """The mean of the largest similarity of each item; items without neighbours do not count. 1 if no item has any."""
    largest = similarity.max(axis=1).toarray().ravel()
    return float(largest[largest > 0].mean()) if (largest > 0).any() else 1.0
