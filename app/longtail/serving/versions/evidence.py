"""The training set of a recommender, to say what a recommendation leans on: who took which items, and what was generated."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from longtail.arrays import offsets_of, rows_of
from longtail.recommenders.interactions import Interactions
from longtail.serving.versions.mapped_arrays import Array


@dataclass(frozen=True)
class Evidence:
    """Entries of users: items[indptr[u] : indptr[u + 1]], of which the first observed[u] were observed.

    Users of an item, each once, ascending: takers[taken_indptr[i] : taken_indptr[i + 1]], and `taken`, bool, whether that
    user took the item; the others have it because the LLM generated it.
    """

    indptr: np.ndarray
    items: np.ndarray
    observed: np.ndarray
    taken_indptr: np.ndarray
    takers: np.ndarray
    taken: np.ndarray

    @classmethod
    def read(cls, train: Interactions) -> Iterator[tuple[str, Array]]:
        """The arrays of a training set, with their names."""
        users, observed = rows_of(np.diff(train.indptr)), train.was_observed
        order = np.lexsort((~observed, users, train.items))
        items, users, observed = train.items[order], users[order], observed[order]
        first = np.ones(len(items), bool)
        first[1:] = (items[1:] != items[:-1]) | (users[1:] != users[:-1])
        yield "indptr", train.indptr
        yield "items", train.items.astype(np.int32)
        yield "observed", train.observed
        yield "taken_indptr", offsets_of(np.bincount(items[first], minlength=train.n_items))
        yield "takers", users[first].astype(np.int32)
        yield "taken", observed[first]

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "Evidence":
        """From the arrays of `read`."""
        return cls(**arrays)

    def generated(self, user: int) -> np.ndarray:
        """The items that the LLM generated for a user: int32 [n], each once."""
        return np.unique(self.items[self.indptr[user] + self.observed[user] : self.indptr[user + 1]])

    def pairs(self, one: int, other: int) -> tuple[int, int]:
        """How many users took both items, and how many have both with at least one of them generated."""
        (users, taken), (others, also) = self._takers(one), self._takers(other)
        _, here, there = np.intersect1d(users, others, assume_unique=True, return_indices=True)
        both = int(np.count_nonzero(taken[here] & also[there]))
        return both, len(here) - both

    def _takers(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(*self.taken_indptr[item : item + 2])
        return self.takers[rows], self.taken[rows]
