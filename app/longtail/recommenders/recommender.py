"""What all recommenders share: histories as arrays, full ranking in blocks, saving and loading.

A model adds `learn`, `score` (all items for some users), `arrays` and `restore` (what it must remember).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import safetensors.numpy

from longtail import __version__
from longtail.errors import InputError
from longtail.recipe import RecommenderSection
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.scoring.best_k import top_k
from longtail.recommenders.training.compute import Compute
from longtail.workspace.place import Place

SCORES_AT_ONCE = 2**23
"""So many scores (users x items) exist at a time: 32 MiB of float32."""


class Recommender(ABC):
    """One model, which scores whole rows of the catalogue. Fitting is deterministic by `seed`; a saved model answers as
    the fitted one.

    An item without any training interaction is never ranked, and a user without history gets -1 everywhere
    (but from popularity): a caller that must answer asks popularity instead.
    """

    def __init__(
        self, name: str, section: RecommenderSection, seed: int = 0, compute: Compute | None = None
    ) -> None:
        """`name` is what the recipe calls it."""
        self.name, self.section, self.seed, self.compute = name, section, seed, compute or Compute()
        self.n_items = 0
        self.seen = Histories.of([])
        self.counts: dict[str, Any] = {}
        """What fitting wants the manifest to tell: seconds per epoch, last loss."""

    def fit(
        self, train: Interactions, preferences: Preferences | None = None, validation: Targets | None = None
    ) -> Self:
        """Learn from `train`; trained models also from `preferences`, and stop where `validation` is best."""
        self.n_items, self.seen = train.n_items, Histories.observed(train)
        self.learn(train, preferences or Preferences.none(), validation)
        return self

    @abstractmethod
    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        """Find out what `score` needs. `n_items` and `seen`, the observed histories, are known by now."""

    @abstractmethod
    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """A new array float32 [rows, n_items], -inf for no candidate.

        `users` int [rows] are the codes of the users if they are in the training set.
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
        """Full ranking over the catalogue: items int32 [n, k], best first, -1 where there are fewer; scores float32.

        `since` holds what each of the users took since the fit: it belongs to the history that is asked with and is
        masked. A model whose `RecommenderSpec` says `keeps_users` only masks it.
        """
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
        """The same for ad-hoc users given by their histories (int32, oldest first), without training again."""
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
        """Write safetensors and JSON to `place`, never a pickle."""
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
