"""What validation says of a fit: alone, and fused with the LLM's list or, as a control, with a recommender's.

How much the list counts is chosen on the validation items, per fit, and the test is ranked once with what was chosen.
"""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from longtail.aggregation.fused import ALONE, Choice, Fused
from longtail.evaluation.ranks import rank_targets
from longtail.evaluation.targets import Part, read_targets
from longtail.ranking_metrics import METRICS, per_user
from longtail.recommenders.recommender import Recommender

K = 10
"""The choice is by NDCG at it."""

GRID = (
    ALONE,
    *(
        Choice(alpha_1, alpha_2, utility)
        for utility, alpha_2, alpha_1 in product(
            ("rank", "score"), (1.0, 0.5, 0.1), (0.1, 0.3, 0.5, 0.7, 0.9)
        )
    ),
)
"""Llama4Rec's values of alpha_1, some of alpha_2 and 1 (the same weight for everybody), and alpha_1 = 0: the list only fills
what the recommender's ranking leaves free."""
UNTRIED = Choice(0.5, 0.5, "rank")


@dataclass(frozen=True)
class Tried:
    """Sums of NDCG@10 over the users with a validation item; parts add up.

    ndcg float64 [len(GRID)] of every choice, alone that of the recommender without any list.
    """

    users: int
    ndcg: np.ndarray
    alone: float

    def __add__(self, other: "Tried") -> "Tried":
        return Tried(self.users + other.users, self.ndcg + other.ndcg, self.alone + other.alone)

    @classmethod
    def none(cls) -> "Tried":
        return cls(0, np.zeros(len(GRID)), 0.0)

    def best(self) -> Choice:
        """The best on validation, of equals the first in GRID; UNTRIED where nobody has a validation item."""
        return GRID[int(self.ndcg.argmax())] if self.users else UNTRIED

    def counts(self, chosen: Choice | None = None) -> dict[str, Any]:
        """What the manifest tells of validation: the users and mean NDCG@10 of what was `chosen`, or of the recommender
        alone; and what was chosen, with its NDCG@10 beside that of the recommender alone.
        """
        total = self.alone if chosen is None else self.ndcg[GRID.index(chosen)]
        ndcg, alone = (float(value) / self.users if self.users else None for value in (total, self.alone))
        found: dict[str, Any] = {"validation": {"users": self.users, "ndcg": ndcg}}
        if chosen is not None:
            found["serving"] = asdict(chosen) | {"validation_users": self.users}
            if self.users:
                found["serving"] |= {"validation_ndcg": ndcg, "validation_ndcg_alone": alone}
        return found


def try_fit(model: Recommender, part: Part) -> Tried:
    """The recommender alone on the validation items of the users of `part`; the training items are masked."""
    total = Tried.none()
    for users, rows, targets, _ in read_targets(part, "valid"):
        lists, _ = model.recommend(users, min(K, model.n_items))
        alone = _ndcg(rows, rank_targets(lists, rows, targets))
        total += Tried(len(users), np.zeros(len(GRID)), alone)
    return total


def try_fused(fused: Fused, part: Part) -> Tried:
    """Every choice of GRID, and the recommender alone, in the same way."""
    total = Tried.none()
    for users, rows, targets, _ in read_targets(part, "valid"):
        union, asked, ndcg = fused.union(users, None), fused.interactions(users, None), np.zeros(len(GRID))
        for number, choice in enumerate(GRID):
            utility = union.utility(fused.trust(choice).alpha(asked), choice.utility)
            ndcg[number] = _ndcg(rows, union.places(utility, rows, targets))
        own = union.recommender_place[rows] * (union.items[rows] == targets[:, None])
        total += Tried(len(users), ndcg, _ndcg(rows, own.max(axis=1)))
    return total


def _ndcg(rows: np.ndarray, places: np.ndarray) -> float:
    """The sum over users of NDCG@10, from the place of each target and its user's row."""
    _, values = per_user(rows, places, [K])
    return float(values[:, METRICS.index("ndcg"), 0].sum())
