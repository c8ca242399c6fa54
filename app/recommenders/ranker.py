"""What all recommenders share: histories as arrays, full ranking in blocks, saving and loading.

A model adds `_fit`, `score` (all items for some users), `arrays` and `restore` (what it must remember).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import safetensors.numpy
from scipy.sparse import csr_matrix

from app import __version__
from app.errors import InputError
from app.recipe import RecommenderSection
from app.recommenders.base import Interactions, Preferences, Targets
from app.recommenders.compute import Compute
from app.recommenders.topk import top_k
from app.workspace import Place

SCORES_AT_ONCE = 2**23
"""So many scores (users x items) exist at a time: 32 MiB of float32."""


@dataclass(frozen=True)
class Histories:
    """Items per user, oldest first: those of row r are items[indptr[r] : indptr[r + 1]].

    items int32 [n], indptr int64 [rows + 1].
    """

    indptr: np.ndarray
    items: np.ndarray

    @classmethod
    def observed(cls, train: Interactions) -> "Histories":
        """The observed part of a training set: what is asked with and what is masked."""
        lengths = np.diff(train.indptr)
        step = np.arange(len(train.items)) - np.repeat(train.indptr[:-1], lengths)
        keep = step < np.repeat(train.observed, lengths)
        return cls(_starts(train.observed), train.items[keep].astype(np.int32))

    @classmethod
    def of(cls, histories: Iterable[np.ndarray]) -> "Histories":
        rows = [np.asarray(row, np.int32) for row in histories]
        return cls(_starts([len(row) for row in rows]), np.concatenate([np.zeros(0, np.int32), *rows]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.indptr)

    @property
    def rows(self) -> np.ndarray:
        """Row of every entry, int64 [n]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def steps_back(self) -> np.ndarray:
        """How far every entry lies back in its row, int64 [n]; the latest is 0."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(len(self.items))

    def take(self, rows: np.ndarray) -> "Histories":
        lengths = self.lengths[rows]
        indptr = _starts(lengths)
        source = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return Histories(indptr, self.items[source])

    def followed_by(self, later: "Histories") -> "Histories":
        """Each row with the same row of `later` behind it."""
        rows = np.concatenate([self.rows, later.rows])
        order = np.argsort(rows, kind="stable")
        items = np.concatenate([self.items, later.items])[order]
        return Histories(self.indptr + later.indptr, items)

    def emptied(self) -> "Histories":
        """As many rows, without any item."""
        return Histories(np.zeros_like(self.indptr), self.items[:0])

    def matrix(self, values: np.ndarray, n_items: int) -> csr_matrix:
        """rows x items float32 of `values` [n]; of an item that occurs twice in a row the later counts."""
        last_first = np.arange(len(self.items))[::-1]
        _, kept = np.unique((self.rows * n_items + self.items)[last_first], return_index=True)
        kept = last_first[kept]
        cells = (self.rows[kept], self.items[kept])
        return csr_matrix((values[kept].astype(np.float32), cells), shape=(len(self), n_items))


def _starts(lengths: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


class Ranker(ABC):
    """A `Recommender` (see base.py) that scores whole rows of the catalogue.

    An item without any training interaction is never ranked, and a user without history gets -1 everywhere
    (but from popularity): a caller that must answer asks popularity instead.
    """

    name: ClassVar[str]

    def __init__(self, section: RecommenderSection, seed: int = 0, compute: Compute | None = None) -> None:
        self.section, self.seed, self.compute = section, seed, compute or Compute()
        self.n_items = 0
        self.seen = Histories.of([])
        self.counts: dict[str, Any] = {}
        """What fitting wants the manifest to tell: seconds per epoch, last loss."""

    def fit(
        self, train: Interactions, preferences: Preferences | None = None, validation: Targets | None = None
    ) -> Self:
        self.n_items, self.seen = train.n_items, Histories.observed(train)
        self._fit(train, preferences or Preferences.none(), validation)
        return self

    @abstractmethod
    def _fit(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None: ...

    @abstractmethod
    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """A new array float32 [rows, n_items], -inf for no candidate.

        `users` int [rows] are their codes where they are known ones.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What fitting found out, by name."""

    @abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""

    def recommend(
        self, users: np.ndarray, k: int, *, exclude_seen: bool = True, since: Histories | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        users = np.asarray(users, np.int64)
        if len(users) and not 0 <= users.min() <= users.max() < len(self.seen):
            raise InputError(
                f"users: {users.min()}..{users.max()}, this model knows 0..{len(self.seen) - 1}."
            )
        asked = self.seen.take(users)
        return self._rank(asked if since is None else asked.followed_by(since), users, k, exclude_seen)

    def recommend_history(
        self, histories: list[np.ndarray], k: int, *, exclude_seen: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        asked = Histories.of(histories)
        if len(asked.items) and not 0 <= asked.items.min() <= asked.items.max() < self.n_items:
            lowest, highest = asked.items.min(), asked.items.max()
            raise InputError(f"history: items {lowest}..{highest}, the catalogue has 0..{self.n_items - 1}.")
        return self._rank(asked, None, k, exclude_seen)

    @property
    def rows_at_once(self) -> int:
        """How many rows `_top` gets at a time: what bounds its memory."""
        return max(1, SCORES_AT_ONCE // max(1, self.n_items))

    def score_pairs(
        self, histories: Histories, users: np.ndarray | None, candidates: np.ndarray
    ) -> np.ndarray:
        """The scores of candidates int [rows, m], items of the catalogue: float32 [rows, m]."""
        scores = np.empty(candidates.shape, np.float32)
        for block in self._blocks(len(histories)):
            own = self.score(histories.take(block), None if users is None else users[block])
            scores[block] = np.take_along_axis(own, candidates[block], axis=1)
        return scores

    def _rank(
        self, histories: Histories, users: np.ndarray | None, k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if k < 0:
            raise InputError(f"k: {k} items cannot be ranked, ask for 0 or more.")
        items = np.empty((len(histories), k), np.int32)
        values = np.empty((len(histories), k), np.float32)
        for block in self._blocks(len(histories)):
            known = None if users is None else users[block]
            items[block], values[block] = self._top(histories.take(block), known, k, exclude_seen)
        return items, values

    def _top(
        self, histories: Histories, users: np.ndarray | None, k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The lists of at most `rows_at_once` rows, as `recommend` returns them."""
        scores = self.score(histories, users)
        if exclude_seen:
            scores[histories.rows, histories.items] = -np.inf
        return top_k(scores, k)

    def _blocks(self, rows: int) -> Iterator[np.ndarray]:
        step = self.rows_at_once
        return (np.arange(start, min(start + step, rows)) for start in range(0, rows, step))

    def save(self, place: Place) -> None:
        arrays = {"seen_indptr": self.seen.indptr, "seen_items": self.seen.items} | self.arrays()
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        (place / "model.safetensors").write_bytes(safetensors.numpy.save(tensors))
        meta = {
            "model": self.name,
            "section": self.section.model_dump(mode="json"),
            "seed": self.seed,
            "n_items": self.n_items,
            "version": __version__,
        }
        (place / "model.json").write_json(meta)

    def load(self, place: Place) -> Self:
        """Fill this model with what `save` wrote to `place`. Raises InputError where another version did."""
        meta = (place / "model.json").read_json()
        check_version(meta, place)
        arrays = safetensors.numpy.load((place / "model.safetensors").read_bytes())
        self.n_items = meta["n_items"]
        self.seen = Histories(arrays.pop("seen_indptr"), arrays.pop("seen_items"))
        self.restore(arrays)
        return self


def check_version(meta: dict[str, Any], place: Place) -> None:
    """Raise InputError where `meta`, the model.json in `place`, is of a version that may mean other things by it.

    Versions of the same major and minor number read each other's recommenders.
    """
    if meta["version"].split(".")[:2] != __version__.split(".")[:2]:
        raise InputError(
            f"{place}: saved by longtail {meta['version']}, this is {__version__}. Fit it again: longtail train."
        )
