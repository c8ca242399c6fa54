"""Validation during training: NDCG@10 of the held-out items with full ranking, computed as in the evaluation."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from longtail.ranking_metrics import METRICS, per_user
from longtail.recommenders.interactions import Targets
from longtail.recommenders.recommender import Recommender

K = 10
USERS_AT_MOST = 10_000
"""The most users that a validation ranks. More would take training time and hardly change which epoch is best."""


@dataclass(frozen=True)
class Validation:
    """A function from weights to the validation metric; larger is better.

    `ranked` is called each time with the 1-based rank of each target, 0 if it is beyond K: int [targets].
    """

    model: Recommender
    targets: Targets
    ranked: Callable[[np.ndarray], None] = field(default=lambda ranks: None)

    @classmethod
    def of(
        cls,
        model: Recommender,
        targets: Targets,
        seed: int,
        ranked: Callable[[np.ndarray], None] = lambda ranks: None,
    ) -> "Validation":
        """A validation on the targets of `watched`."""
        return cls(model, watched(targets, seed), ranked)

    def __call__(self, weights: dict[str, np.ndarray]) -> float:
        """Mean NDCG@10 over the users."""
        self.model.restore(weights)
        ranks, value = ndcg(self.model, self.targets)
        self.ranked(ranks)
        return value


def ndcg(model: Recommender, targets: Targets) -> tuple[np.ndarray, float]:
    """The 1-based rank of each target, 0 if it is beyond K: int [targets]; and the mean NDCG@K over the users."""
    users, rows = np.unique(targets.users, return_inverse=True)
    lists, _ = model.recommend(users, K)
    found = lists[rows] == targets.items[:, None]
    ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)
    _, values = per_user(rows, ranks, [K])
    return ranks, float(values[:, METRICS.index("ndcg"), 0].mean())


def watched(targets: Targets, seed: int) -> Targets:
    """The targets of at most USERS_AT_MOST users, drawn with `seed`."""
    users = np.unique(targets.users)
    if len(users) <= USERS_AT_MOST:
        return targets
    chosen = np.random.default_rng(seed).choice(users, USERS_AT_MOST, replace=False)
    kept = np.isin(targets.users, chosen)
    return Targets(targets.users[kept], targets.items[kept])
