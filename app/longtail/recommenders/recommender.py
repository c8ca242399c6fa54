"""The base class of all recommenders: full ranking in blocks of users, saving and loading.

A model adds `learn`, `score` (all items for some users), and `arrays` and `restore` (its learnt parameters).
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
"""The number of scores (users x items) that are in memory at a time: 32 MiB of float32."""


class Recommender(ABC):
    """One model that scores all items of the catalogue for a user. A fit depends only on its inputs and `seed`. A model
    that was saved and loaded gives the same results as the fitted one.

    An item that nothing trained is never ranked. All models except popularity return only -1 for a user without history:
    a caller that needs a list for such a user takes it from popularity.
    """

    def __init__(
        self, name: str, section: RecommenderSection, seed: int = 0, compute: Compute | None = None
    ) -> None:
        """`name` is the name of the recommender in the recipe."""
        self.name, self.section, self.seed, self.compute = name, section, seed, compute or Compute()
        self.n_items = 0
        self.seen = Histories.of([])
        self.counts: dict[str, Any] = {}
        """Figures of the fit for the manifest, such as seconds per epoch and the last loss."""

    def fit(
        self, train: Interactions, preferences: Preferences | None = None, validation: Targets | None = None
    ) -> Self:
        """Learn from `train`. Trained models also use `preferences`, and keep the weights that are best on `validation`."""
        self.n_items, self.seen = train.n_items, Histories.observed(train)
        self.learn(train, preferences or Preferences.none(), validation)
        return self

    @abstractmethod
    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        """Compute the parameters that `score` needs. `n_items` and `seen` (the observed histories) are already set."""

    @abstractmethod
    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """The scores of all items: a new array float32 [rows, n_items], -inf for an item that is not a candidate.

        `users` int [rows] are the codes of the users, or None if they are not in the training set.
        """

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The learnt parameters, by name."""

    @abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the parameters that `arrays` returned."""

    def recommend(
        self, users: np.ndarray, k: int, *, exclude_seen: bool = True, since: Histories | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Full ranking over the catalogue for `users` int [n]: items int32 [n, k] and their scores float32 [n, k].

        Best first; if a user has fewer than k candidates, the rest is -1 and -inf. `since` holds the items that each
        user took after the fit: they are added to the history and masked. A model with `keeps_users` in its
        `RecommenderSpec` only masks them. `exclude_seen=False` masks nothing. Raises InputError for an unknown user.
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
        """The same for users outside the training set, given by their histories (int32, oldest first). Nothing is
        trained again. Raises InputError for an item that is not in the catalogue.
        """
        asked = Histories.of(histories)
        if len(asked.items) and not 0 <= asked.items.min() <= asked.items.max() < self.n_items:
            lowest, highest = asked.items.min(), asked.items.max()
            raise InputError(f"history: items {lowest}..{highest}, the catalogue has 0..{self.n_items - 1}.")
        return self._rank(asked, None, k, exclude_seen)

    def at_share(self, share: float) -> Self | None:
        """A copy in which cold items take at most `share` of users' first places (`scoring.exposure`); nothing is trained
        again. None if it ranks no cold item by its text.
        """
        return None

    @property
    def rows_at_once(self) -> int:
        """The number of rows that `_top` gets at a time, which limits its memory."""
        return max(1, SCORES_AT_ONCE // max(1, self.n_items))

    def score_pairs(
        self, histories: Histories, users: np.ndarray | None, candidates: np.ndarray
    ) -> np.ndarray:
        """The scores float32 [rows, m] of `candidates` int [rows, m], which are items of the catalogue."""
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
        """The ranked items and scores of at most `rows_at_once` rows, as `recommend` returns them."""
        scores = self.score(histories, users)
        if exclude_seen:
            scores[histories.rows, histories.items] = -np.inf
        return top_k(scores, k)

    def _blocks(self, rows: int) -> Iterator[np.ndarray]:
        step = self.rows_at_once
        return (np.arange(start, min(start + step, rows)) for start in range(0, rows, step))

    @property
    def item_vectors(self) -> np.ndarray | None:
        """float32 [n_items, d]: near vectors belong to similar items. None if the model has none."""
        return None

    @property
    def meta(self) -> dict[str, Any]:
        """What `model.json` says: the name, the settings, the size of the catalogue and the version."""
        return {
            "model": self.name,
            "section": self.section.model_dump(mode="json"),
            "seed": self.seed,
            "n_items": self.n_items,
            "version": __version__,
        }

    def parts(self) -> dict[str, np.ndarray]:
        """All arrays of the fitted model, by name; `assembled` makes the same model of them."""
        return {"seen_indptr": self.seen.indptr, "seen_items": self.seen.items} | self.arrays()

    def assembled(self, n_items: int, parts: dict[str, np.ndarray]) -> Self:
        """Set this model to the one whose `parts` these are. They may be read-only, such as memory-mapped ones."""
        parts = dict(parts)
        self.n_items = n_items
        self.seen = Histories(parts.pop("seen_indptr"), parts.pop("seen_items"))
        self.restore(parts)
        return self

    def save(self, place: Place) -> None:
        """Write safetensors and JSON to `place`, never a pickle."""
        tensors = {name: np.ascontiguousarray(array) for name, array in Recommender.parts(self).items()}
        (place / "model.safetensors").write_bytes(safetensors.numpy.save(tensors))
        (place / "model.json").write_json(self.meta)

    def load(self, place: Place) -> Self:
        """Set this model to the one that `save` wrote to `place`. Raises InputError if another version wrote it."""
        meta = (place / "model.json").read_json()
        check_version(meta, place)
        arrays = safetensors.numpy.load((place / "model.safetensors").read_bytes())
        return Recommender.assembled(self, meta["n_items"], arrays)


def check_version(meta: dict[str, Any], place: Place) -> None:
    """Raise InputError if another version of Longtail wrote `meta`, the model.json in `place`.

    Versions with the same major and minor number can read each other's recommenders.
    """
    if meta["version"].split(".")[:2] != __version__.split(".")[:2]:
        raise InputError(
            f"{place}: saved by longtail {meta['version']}, this is {__version__}. Fit it again: longtail train."
        )
