"""The batches of an epoch: interactions and preferences, and the negatives that are drawn for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from scipy.sparse import csr_matrix

from longtail.arrays import rows_of
from longtail.recommenders.training.training_loop import Arrays


class Negatives:
    """Draws warm items (those with a training interaction) that are not in the user's row, observed or generated.

    A cold item is never a negative: that would only lower its score, against the auxiliary loss that trains cold items
    (arXiv 2402.11724). This is our decision; what we could read of the paper does not say it.
    """

    def __init__(self, taken: csr_matrix) -> None:
        taken = taken.sorted_indices()
        self.indptr, self.indices = taken.indptr, taken.indices
        self.warm = np.unique(taken.indices)
        self.possible = np.diff(taken.indptr) < len(self.warm)
        """bool [users]: whether there is at least one such item."""

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One item for each of `users` (int [n], all of them `possible`), uniformly: int64 [n]."""
        items = self.warm[rng.integers(len(self.warm), size=len(users))].astype(np.int64)
        wrong = np.flatnonzero(_taken(self.indptr, self.indices, users, items))
        while len(wrong):
            items[wrong] = self.warm[rng.integers(len(self.warm), size=len(wrong))]
            wrong = wrong[_taken(self.indptr, self.indices, users[wrong], items[wrong])]
        return items


@numba.njit(nogil=True, cache=True)
def _taken(indptr: np.ndarray, indices: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """bool [n]: whether items[k] is in the sorted row of users[k]."""
    found = np.zeros(len(users), np.bool_)
    for k in range(len(users)):
        low, high = indptr[users[k]], indptr[users[k] + 1]
        end = high
        while low < high:
            middle = (low + high) // 2
            if indices[middle] < items[k]:
                low = middle + 1
            else:
                high = middle
        found[k] = low < end and indices[low] == items[k]
    return found


@dataclass(frozen=True)
class Batch:
    """The pairs of one step: first `size` interactions, then the preferences, which already have their negatives.

    users, preferred int64 [n], weights float32 [n] (of a preference: lambda times its confidence), rejected int64
    [n - size]: the negatives of the preferences. The loss of a step is the weighted sum over all n, divided by
    `divisor`.
    """

    users: np.ndarray
    preferred: np.ndarray
    weights: np.ndarray
    rejected: np.ndarray

    @property
    def size(self) -> int:
        return len(self.users) - len(self.rejected)

    @property
    def divisor(self) -> int:
        return self.size or len(self.users)


class Batches:
    """The interactions in batches, each with an equal part of the preferences. An epoch is one pass over both."""

    def __init__(self, arrays: Arrays, settings: dict[str, Any]) -> None:
        self.ratings = csr_matrix(
            (arrays["weights"], arrays["indices"].astype(np.int32), arrays["indptr"].astype(np.int32)),
            shape=settings["shape"],
        )
        self.negatives = Negatives(self.ratings)
        users = rows_of(np.diff(self.ratings.indptr))
        usable = self.negatives.possible[users]
        self.users, self.items = users[usable], self.ratings.indices[usable].astype(np.int64)
        self.weights = self.ratings.data[usable]
        self.preferences = arrays["preference_users"], arrays["preferred"], arrays["rejected"]
        self.confidences = arrays["confidences"] * np.float32(settings["preference_weight"])
        self.batch = settings["batch"]

    @property
    def divisor(self) -> int:
        """The number by which the sum of the losses of an epoch is divided."""
        return len(self.users) or len(self.confidences) or 1

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one epoch, in a new random order that is the same on all workers."""
        order, shares = rng.permutation(len(self.users)), rng.permutation(len(self.confidences))
        steps = max(1, -(-len(order) // self.batch))
        for step, share in enumerate(np.array_split(shares, steps)):
            own = order[step * self.batch : (step + 1) * self.batch]
            asked, preferred, rejected = (part[share] for part in self.preferences)
            if len(own) + len(share):
                yield Batch(
                    np.concatenate([self.users[own], asked]),
                    np.concatenate([self.items[own], preferred]),
                    np.concatenate([self.weights[own], self.confidences[share]]),
                    rejected,
                )
