"""The border of a recommender: dense int32 codes in arrays, no ids and no Parquet.

`Interactions` is a training set, `Recommender` the interface that every model keeps.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from app.errors import InputError
from app.workspace import Place


@dataclass(frozen=True)
class Interactions:
    """A training set: per user the observed items, oldest first, then the generated ones.

    indptr int64 [users + 1], items int32 [n], weights float32 [n], observed int64 [users] (how many of a user's
    entries were observed), n_items the size of the catalogue.
    """

    indptr: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    observed: np.ndarray
    n_items: int

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
    def from_table(cls, table: pa.Table, n_items: int) -> "Interactions":
        """From rows of `schema.FUSED`; row number must equal user code once sorted by `user`."""
        table = table.sort_by("user").combine_chunks()
        items, weights = table["items"].combine_chunks(), table["weights"].combine_chunks()
        return cls(
            indptr=np.concatenate(
                [[0], np.cumsum(pa.compute.list_value_length(items).to_numpy(zero_copy_only=False))]
            ),
            items=items.flatten().to_numpy(zero_copy_only=False).astype(np.int32),
            weights=weights.flatten().to_numpy(zero_copy_only=False).astype(np.float32),
            observed=table["observed"].to_numpy().astype(np.int64),
            n_items=n_items,
        )

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def matrix(self) -> csr_matrix:
        """Weights as users x items; an item that occurs twice for a user counts with its largest weight."""
        users = np.repeat(np.arange(self.n_users), np.diff(self.indptr))
        order = np.lexsort((-self.weights, self.items, users))
        users, items, weights = users[order], self.items[order], self.weights[order]
        first = np.ones(len(users), bool)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        return csr_matrix((weights[first], (users[first], items[first])), shape=(self.n_users, self.n_items))

    def history(self, user: int) -> np.ndarray:
        """The observed items of a user, oldest first: what is asked with, and what is masked. Never a generated item."""
        start = self.indptr[user]
        return self.items[start : start + self.observed[user]]

    def histories(self, users: np.ndarray) -> list[np.ndarray]:
        return [self.history(user) for user in users]


@dataclass(frozen=True)
class Preferences:
    """Pairs of items of which a user prefers one (cold-start augmenters, 2402.11724).

    users, preferred and rejected int32 [n], confidences float32 [n], the weights of the pairs in the loss.
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
    """Held-out items: users[r] took items[r]; both int [n]."""

    users: np.ndarray
    items: np.ndarray


class Recommender(Protocol):
    """One model. Fitting is deterministic by `seed`; a saved model answers as the fitted one."""

    def fit(
        self,
        train: Interactions,
        preferences: Preferences | None = None,
        validation: Targets | None = None,
    ) -> Self:
        """Learn from `train`; trained models also from `preferences`, and stop where `validation` is best."""
        ...

    def recommend(
        self, users: np.ndarray, k: int, *, exclude_seen: bool = True, since: "Histories | None" = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Full ranking over the catalogue: items int32 [n, k], best first, -1 where there are fewer; scores float32.

        `since` holds what each of the users took since the fit: it belongs to the history that is asked with and masked.
        """
        ...

    def recommend_history(
        self, histories: list[np.ndarray], k: int, *, exclude_seen: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same for ad-hoc users given by their histories (int32, oldest first), without training again."""
        ...

    def save(self, place: Place) -> None:
        """safetensors, JSON or Parquet; never pickle."""
        ...
