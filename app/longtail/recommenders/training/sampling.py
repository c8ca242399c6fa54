"""What an epoch passes over: batches of interactions and preferences, and negatives drawn for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from scipy.sparse import csr_matrix

from longtail.arrays import rows_of
from longtail.recommenders.training.training_loop import Arrays


class Negatives:
    """Draws warm items (those with any training interaction) outside a user's row, observed or generated.

    A cold item is never a negative: it would only be pushed down (papers 4.3).
    """

    def __init__(self, taken: csr_matrix) -> None:
        taken = taken.sorted_indices()
        self.indptr, self.indices = taken.indptr, taken.indices
        self.warm = np.unique(taken.indices)
        self.possible = np.diff(taken.indptr) < len(self.warm)
        """bool [users]: there is at least one such item."""

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
    """bool [n]: items[k] is in the sorted row of users[k]."""
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
    """The pairs of one step: `size` interactions first, then preferences, which bring their negatives along.

    users, preferred int64 [n], weights float32 [n] (of a preference: lambda times its confidence), rejected int64
    [n - size]. A step's loss is the sum over all n by weight, divided by `divisor`.
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
    """Interactions in batches and, beside them, the preferences in as many shares: an epoch is one pass over both."""

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
        """What an epoch's sum of losses is divided by."""
        return len(self.users) or len(self.confidences) or 1

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """In a new order; the same on all workers."""
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
