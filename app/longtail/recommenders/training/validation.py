"""Validation during training: NDCG@10 of the held-out items with full ranking, computed as in the evaluation."""

from dataclasses import dataclass

import numpy as np

from longtail.ranking_metrics import METRICS, per_user
from longtail.recommenders.interactions import Targets
from longtail.recommenders.recommender import Recommender

K = 10
USERS_AT_MOST = 10_000
"""The most users that a validation ranks. More would take training time and hardly change which epoch is best."""


@dataclass(frozen=True)
class Validation:
    """A function from weights to the validation metric; larger is better."""

    model: Recommender
    targets: Targets

    @classmethod
    def of(cls, model: Recommender, targets: Targets, seed: int) -> "Validation":
        """A validation on at most USERS_AT_MOST users, drawn with `seed`."""
        users = np.unique(targets.users)
        if len(users) > USERS_AT_MOST:
            chosen = np.random.default_rng(seed).choice(users, USERS_AT_MOST, replace=False)
            kept = np.isin(targets.users, chosen)
            targets = Targets(targets.users[kept], targets.items[kept])
        return cls(model, targets)

    def __call__(self, weights: dict[str, np.ndarray]) -> float:
        """Mean NDCG@10 over the users."""
        self.model.restore(weights)
        users, rows = np.unique(self.targets.users, return_inverse=True)
        lists, _ = self.model.recommend(users, K)
        found = lists[rows] == self.targets.items[:, None]
        ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)
        _, values = per_user(rows, ranks, [K])
        return float(values[:, METRICS.index("ndcg"), 0].mean())
