"""The inputs of a recommender: dense int32 codes in arrays, without ids and Parquet.

`Interactions` is a training set, `Histories` are the items of each user, `Preferences` are pairs of items, and
`Targets` are the held-out items.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from longtail.arrays import latest, lengths_of, offsets_of, places_of, rows_of
from longtail.errors import InputError
from longtail.text.item_texts import ItemTexts


@dataclass(frozen=True)
class Interactions:
    """A training set: for each user the observed items, oldest first, then the generated ones.

    indptr int64 [users + 1], items int32 [n], weights float32 [n], observed int64 [users] (the number of observed
    entries of each user), n_items the size of the catalogue. sequence int64 [n]: the indices of the entries, user by
    user, in the order in which a sequence model reads them; None if this is the order of the entries. texts: returns
    what is known of the texts of all items; None if there is nothing. It is called only by models that read them.

    Raises InputError if a weight is negative or not finite, or if an item is not in the catalogue.
    """

    indptr: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    observed: np.ndarray
    n_items: int
    sequence: np.ndarray | None = None
    texts: Callable[[], ItemTexts] | None = None

    def __post_init__(self) -> None:
        wrong = np.flatnonzero(~(np.isfinite(self.weights) & (self.weights >= 0)))
        if len(wrong):
            row = wrong[0]
            user = np.searchsorted(self.indptr, row, side="right") - 1
            raise InputError(
                f"training set: user {user}, item {self.items[row]} has weight {self.weights[row]}; a weight is"
                f" finite and not negative ({len(wrong)} such rows)."
            )
        if len(self.items) and not 0 <= self.items.min() <= self.items.max() < self.n_items:
            raise InputError(
                f"training set: items {self.items.min()}..{self.items.max()}, the catalogue has"
                f" 0..{self.n_items - 1}. Run longtail prepare and longtail fuse again."
            )

    @classmethod
    def from_table(
        cls, table: pa.Table, n_items: int, texts: Callable[[], ItemTexts] | None = None
    ) -> "Interactions":
        """From rows of `schema.FUSED`, one for each user code: 0, 1, 2 and so on, in any order."""
        table = table.sort_by("user").combine_chunks()
        items, weights = table["items"].combine_chunks(), table["weights"].combine_chunks()
        indptr = offsets_of(lengths_of(items))
        places, sequence = table["sequence"].combine_chunks(), None
        if places.null_count < len(places):
            lengths = np.diff(indptr)
            own = places.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
            sequence = own + np.repeat(indptr[:-1], lengths)
        return cls(
            indptr=indptr,
            items=items.flatten().to_numpy(zero_copy_only=False).astype(np.int32),
            weights=weights.flatten().to_numpy(zero_copy_only=False).astype(np.float32),
            observed=table["observed"].to_numpy().astype(np.int64),
            n_items=n_items,
            sequence=sequence,
            texts=texts,
        )

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def matrix(self) -> csr_matrix:
        """The weights, float32 [users, items]. If an item occurs more than once for a user, its largest weight counts."""
        users = rows_of(np.diff(self.indptr))
        order = np.lexsort((-self.weights, self.items, users))
        users, items, weights = users[order], self.items[order], self.weights[order]
        first = np.ones(len(users), bool)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        return csr_matrix((weights[first], (users[first], items[first])), shape=(self.n_users, self.n_items))

    @property
    def was_observed(self) -> np.ndarray:
        """bool [n]: whether the entry was observed, not generated."""
        lengths = np.diff(self.indptr)
        return places_of(lengths) < np.repeat(self.observed, lengths)

    def history(self, user: int) -> np.ndarray:
        """The observed items of a user, oldest first, never a generated one: the input for ranking, also masked there."""
        start = self.indptr[user]
        return self.items[start : start + self.observed[user]]

    def histories(self, users: np.ndarray) -> list[np.ndarray]:
        return [self.history(user) for user in users]


@dataclass(frozen=True)
class Histories:
    """The items of each user, oldest first: those of row r are items[indptr[r] : indptr[r + 1]].

    items int32 [n], indptr int64 [rows + 1].
    """

    indptr: np.ndarray
    items: np.ndarray

    @classmethod
    def observed(cls, train: Interactions) -> "Histories":
        """The observed part of a training set: the input for ranking, whose items are masked there."""
        return cls(offsets_of(train.observed), train.items[train.was_observed].astype(np.int32))

    @classmethod
    def of(cls, histories: Iterable[np.ndarray]) -> "Histories":
        rows = [np.asarray(row, np.int32) for row in histories]
        return cls(offsets_of([len(row) for row in rows]), np.concatenate([np.zeros(0, np.int32), *rows]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.indptr)

    @property
    def rows(self) -> np.ndarray:
        """The row of each entry, int64 [n]."""
        return rows_of(self.lengths)

    @property
    def steps_back(self) -> np.ndarray:
        """The number of later entries in the same row, for each entry, int64 [n]; 0 for the latest."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(len(self.items))

    def take(self, rows: np.ndarray) -> "Histories":
        places, lengths = latest(self.indptr, rows)
        return Histories(offsets_of(lengths), self.items[places])

    def followed_by(self, later: "Histories") -> "Histories":
        """Each row, followed by the same row of `later`."""
        rows = np.concatenate([self.rows, later.rows])
        order = np.argsort(rows, kind="stable")
        items = np.concatenate([self.items, later.items])[order]
        return Histories(self.indptr + later.indptr, items)

    def pairs_in(self, others: "Histories") -> np.ndarray:
        """bool [n]: whether the same row of `others` has this item too."""
        widest = np.int64(max(self.items.max(initial=0), others.items.max(initial=0)) + 1)
        return np.isin(self.rows * widest + self.items, others.rows * widest + others.items)

    def emptied(self) -> "Histories":
        """The same number of rows, all without items."""
        return Histories(np.zeros_like(self.indptr), self.items[:0])

    def matrix(self, values: np.ndarray, n_items: int) -> csr_matrix:
        """`values` [n] as float32 [rows, n_items]. If an item occurs more than once in a row, its latest value counts."""
        last_first = np.arange(len(self.items))[::-1]
        _, kept = np.unique((self.rows * n_items + self.items)[last_first], return_index=True)
        kept = last_first[kept]
        cells = (self.rows[kept], self.items[kept])
        return csr_matrix((values[kept].astype(np.float32), cells), shape=(len(self), n_items))


@dataclass(frozen=True)
class Preferences:
    """Pairs of items, with the one that a user prefers (cold-start augmenters, arXiv 2402.11724).

    users, preferred and rejected int32 [n]; confidences float32 [n]: the weights of the pairs in the loss.
    """

    users: np.ndarray
    preferred: np.ndarray
    rejected: np.ndarray
    confidences: np.ndarray

    @classmethod
    def from_table(cls, table: pa.Table) -> "Preferences":
        """From rows of `schema.PREFERENCES`."""
        names = ("user", "preferred", "rejected", "confidence")
        return cls(*(table[name].to_numpy() for name in names))

    @classmethod
    def none(cls) -> "Preferences":
        empty = np.zeros(0, np.int32)
        return cls(empty, empty, empty, np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Targets:
    """Held-out items: user users[r] interacted with items[r]; both int [n]."""

    users: np.ndarray
    items: np.ndarray
