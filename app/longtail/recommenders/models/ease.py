"""EASE^R (Steck, arXiv 1905.03375): the linear autoencoder with a zero diagonal, in closed form."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import psutil
from pydantic import Field
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from longtail.arrays import offsets_of
from longtail.errors import InputError
from longtail.recipe import LogRange
from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.neighbours import RECENCY, Neighbours, NeighboursSection
from longtail.recommenders.recommender import SCORES_AT_ONCE
from longtail.runtime.cgroups import memory_left

BYTES_OF_A_PAIR = 8
"""float64: with a small l2 the inverse would lose digits in float32."""


class EASESection(NeighboursSection):
    l2: Annotated[float, Field(gt=0)] = 250.0
    """lambda in the paper. The best one grows with the number of interactions of an item."""
    neighbours: Positive = 500
    """The weights of each item that are kept, those with the largest magnitude. The paper keeps all of them."""


class EASE(Neighbours):
    """B = I - P diag(1 / diag(P)), with P = (X^T X + l2 I)^-1: the similarity of items j and i is B_ji = -P_ji / P_ii.

    X_ui is the interaction weight r_ui, or 0. So an item that was generated for a user with weight r is read as r and is
    also predicted as r. B minimises |X - X B|^2 + l2 |B|^2 with diag(B) = 0 (section 3). Many weights are negative.

    Items without interactions have no weights and cost nothing. For n other items the fit holds 8 n^2 bytes at once and
    takes about n^3 operations.
    """

    section: EASESection

    def of_log(self, train: Interactions) -> csr_matrix:
        ratings = train.matrix
        warm = np.flatnonzero(np.asarray(ratings.sum(axis=0)).ravel() > 0)
        check_room(len(warm))
        precision = inverse_gram(csr_matrix(ratings[:, warm]).astype(np.float64), self.section.l2)
        diagonal = precision.diagonal().copy()
        lengths, columns, values = np.zeros(train.n_items, np.int64), [], []
        for rows in _blocks(len(warm)):
            weights = precision[rows] / -diagonal
            weights[np.arange(len(rows)), rows] = 0
            kept, best = strongest(weights, self.section.neighbours)
            there = best != 0
            lengths[warm[rows]] = there.sum(axis=1)
            columns.append(warm[kept[there]])
            values.append(best[there].astype(np.float32))
        indices = np.concatenate([np.zeros(0, np.int64), *columns])
        data = np.concatenate([np.zeros(0, np.float32), *values])
        shape = (train.n_items, train.n_items)
        return csr_matrix((data, indices, offsets_of(lengths)), shape=shape)


def check_room(n_items: int) -> None:
    """Raise InputError if the inverse for so many items does not fit into the memory that is free."""
    need, left = BYTES_OF_A_PAIR * n_items**2, memory_left(psutil.virtual_memory().available)
    if need > left:
        raise InputError(
            f"EASE inverts a matrix of {n_items} x {n_items} items, which takes {need / 2**30:.1f} GiB of memory;"
            f" {left / 2**30:.1f} GiB are free. Drop items with few interactions (dataset.k_core), use itemcf or rp3beta,"
            " or run on a machine with more memory."
        )


def inverse_gram(ratings: csr_matrix, l2: float) -> np.ndarray:
    """(X^T X + l2 I)^-1, float64 [items, items], for `ratings` X float64 [users, items].

    By Cholesky's factors, in place: only one such matrix is in memory. Raises InputError if l2 is too small for it.
    """
    n_items = ratings.shape[1]
    found = np.empty((n_items, n_items), order="F")  # LAPACK would copy an array in C order
    transposed = csr_matrix(ratings.T)
    for columns in _blocks(n_items):
        found[:, columns] = (transposed @ ratings[:, columns]).toarray()
    found[np.diag_indices(n_items)] += l2
    if n_items:
        found, failed = lapack.dpotrf(found, lower=1, overwrite_a=1, clean=0)
        if failed:
            raise InputError(f"EASE: the items cannot be told apart with l2 = {l2}. Set a higher l2.")
        found, _ = lapack.dpotri(found, lower=1, overwrite_c=1)
    for columns in _blocks(n_items):  # LAPACK fills the lower triangle only
        start, end = columns[0], columns[-1] + 1
        square = np.tril(found[start:end, start:end])
        found[start:end, start:end] = square + np.tril(square, -1).T
        found[start:end, end:] = found[end:, start:end].T
    return found


def strongest(weights: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k entries of each row with the largest magnitude: their columns and their values, both [rows, k], largest value
    first, equal ones by column. All entries if a row has fewer.
    """
    k = min(k, weights.shape[1])
    kept = np.sort(np.argpartition(-np.abs(weights), k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(weights, kept, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1), np.take_along_axis(values, order, axis=1)


def _blocks(n_items: int) -> Iterator[np.ndarray]:
    """The items, so many at a time that their pairs with all items take little memory beside the whole matrix."""
    step = max(1, SCORES_AT_ONCE // max(1, n_items))
    return (np.arange(start, min(start + step, n_items)) for start in range(0, n_items, step))


SPEC = RecommenderSpec(
    title="EASE",
    settings=EASESection,
    model=EASE,
    space={"l2": LogRange(log=(1, 1e4)), "recency": RECENCY},
    item_to_item=True,
)
