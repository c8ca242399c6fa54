"""Which items a trained recommender ranks: those that something trained, and cold ones that are known by their texts."""

from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.exposure import PLACES, bias_for, some_users


def _none() -> np.ndarray:
    return np.zeros(0, np.int32)


@dataclass(frozen=True)
class Candidates:
    """warm bool [n_items]: whether an interaction or a preference trained the item. by_text int32 [m], ascending: cold items
    that are ranked too, because their texts gave them vectors. bias: what is added to the scores of these.
    """

    warm: np.ndarray
    by_text: np.ndarray = field(default_factory=_none)
    bias: float = 0.0

    @cached_property
    def all(self) -> np.ndarray:
        """bool [n_items]: whether the item is ranked."""
        ranked = np.array(self.warm)
        ranked[self.by_text] = True
        return ranked

    @cached_property
    def left_out(self) -> np.ndarray:
        """The items that are not ranked, int64 [m], ascending."""
        return np.flatnonzero(~self.all)

    @cached_property
    def _added(self) -> np.ndarray:
        """What is added to the score of each item, float32 [n_items]: -inf for those that are not ranked."""
        added = np.where(self.warm, 0, -np.inf).astype(np.float32)
        added[self.by_text] = self.bias
        return added

    def ranked(self, scores: np.ndarray, items: np.ndarray | None = None) -> np.ndarray:
        """`scores` float32 [..., n_items] with the bias, -inf for items that are not ranked; changed in place. items: those
        that the scores are of, int of the same shape; None for all.
        """
        if len(self.by_text):
            moved = self._added if items is None else self._added[items]
            scores += np.where(np.isfinite(moved), moved, 0)
        if items is None:
            scores[..., self.left_out] = -np.inf
        else:
            scores[~self.all[items]] = -np.inf
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        """To be saved with a model; `of` makes the same of them."""
        if not len(self.by_text):
            return {"warm": self.warm}
        return {"warm": self.warm, "by_text": self.by_text, "bias": np.array([self.bias], np.float32)}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Candidates":
        """From saved arrays, which may have others too."""
        bias = float(arrays["bias"][0]) if "bias" in arrays else 0.0
        return cls(arrays["warm"], arrays.get("by_text", _none()), bias)


NAMES = ("warm", "by_text", "bias")
"""Those of `Candidates.arrays`."""


class CandidateRecommender(Recommender):
    """A `Recommender` that says which items are candidates, and how often cold ones are seen."""

    candidates: Candidates

    def restore_candidates(self, arrays: dict[str, np.ndarray]) -> None:
        """From saved arrays; those of a training that still goes on have none."""
        if "warm" in arrays:
            self.candidates = Candidates.of(arrays)

    def at_share(self, share: float) -> Self | None:
        if not len(self.candidates.by_text):
            return None
        changed = copy(self)
        changed.counts = dict(self.counts)
        changed.offer(self.candidates.by_text, share)
        return changed

    def offer(self, cold: np.ndarray, share: float) -> None:
        """Rank the cold items int [m] too, at a bias with which they take at most `share` of users' first places.

        It is also no more than the share of these items in the catalogue. No text tells how much worse than warm items cold
        ones are, so one number is found for all of them, on users of the training set as they are ranked for.
        """
        warm, cold = self.candidates.warm, np.sort(cold).astype(np.int32)
        users = some_users(self.seen)
        best = []
        for one in (Candidates(warm), Candidates(np.zeros_like(warm), cold)):
            self.candidates = one
            best.append(self.recommend(users, PLACES)[1])
        bias = bias_for(*best, min(share, len(cold) / max(1, self.n_items)))
        self.candidates = Candidates(warm, cold, bias) if np.isfinite(bias) else Candidates(warm)
        self.counts["cold items"] = len(self.candidates.by_text)
        if len(self.candidates.by_text):
            self.counts["bias of cold items"] = bias
