"""What serving makes of a recommender: its ranking fused with the LLM's list, or as a control with a recommender's.

How much the list counts is chosen on the validation items, per fit, and the test is ranked once with what was chosen.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from app.evaluation.targets import Part, read_targets
from app.metrics import METRICS, per_user
from app.recommenders.base import Histories
from app.recommenders.ranker import Ranker
from app.serving.aggregation import Trust, Union, Utility
from app.serving.llm_lists import LLMLists

K = 10
"""The choice is by NDCG at it."""


@dataclass(frozen=True)
class Choice:
    """How the two lists are fused: settings of the recipe's `serving`."""

    alpha_1: float
    alpha_2: float
    utility: Utility


GRID = (
    Choice(0.0, 1.0, "rank"),
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

    def counts(self, chosen: Choice) -> dict[str, Any]:
        """What the manifest tells: the choice, and its NDCG@10 on validation beside that of the recommender alone."""
        found: dict[str, Any] = {"validation_users": self.users}
        if self.users:
            found["validation_ndcg"] = float(self.ndcg[GRID.index(chosen)]) / self.users
            found["validation_ndcg_alone"] = self.alone / self.users
        return {"serving": asdict(chosen) | found}


@dataclass(frozen=True)
class Served:
    """A fitted recommender fused with a list of each user; it ranks as a `Ranker` does.

    Of the recommender's own ranking `candidates` items take part. With `control` its list stands in for the LLM's, as long
    as that.
    """

    model: Ranker
    lists: LLMLists
    control: Ranker | None
    candidates: int
    choice: Choice = GRID[0]

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def n_items(self) -> int:
        return self.model.n_items

    @property
    def seen(self) -> Histories:
        return self.model.seen

    @cached_property
    def interactions(self) -> np.ndarray:
        """N(u) of every user."""
        return self.seen.lengths

    def recommend(
        self, users: np.ndarray, k: int, *, since: Histories | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Recommender.recommend`; scores are the utilities, and k at most what both lists hold together."""
        union = self.union(users, since)
        utility = self.utility(union, users, self.choice)
        best = union.best(utility, k)
        items, scores = (np.take_along_axis(values, best, axis=1) for values in (union.items, utility))
        return items, scores.astype(np.float32)

    def score_pairs(self, histories: Histories, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """As `Ranker.score_pairs`: what neither list holds stands below what one does, in the recommender's order."""
        union = self.union(users, _since(histories, self.interactions[users]))
        utility = self.utility(union, users, self.choice)
        rows = np.repeat(np.arange(len(users)), candidates.shape[1])
        places = union.places(utility, rows, candidates.ravel()).reshape(candidates.shape)
        alone = self.model.score_pairs(histories, users, candidates)
        distinct, order = np.unique(alone, return_inverse=True)
        fused = np.take_along_axis(np.sort(utility, axis=1)[:, ::-1], np.maximum(places - 1, 0), axis=1)
        lowest = utility.min(axis=1, keepdims=True, where=union.items >= 0, initial=0)
        return np.where(places > 0, fused - lowest + 1, order.reshape(alone.shape) / len(distinct))

    def union(self, users: np.ndarray, since: Histories | None) -> Union:
        """Both lists of users int [n], without what they took `since`."""
        llm = self.lists.of(users)
        if self.control is not None:
            length = llm[0].shape[1]
            items, scores = self.control.recommend(users, length, since=since)
            llm = np.where(np.arange(length) < self.lists.lengths[users][:, None], items, -1), scores
        if since is not None:
            llm = _without(llm[0], since, self.n_items), llm[1]
        return Union.of(self.model.recommend(users, min(self.candidates, self.n_items), since=since), llm)

    def utility(self, union: Union, users: np.ndarray, choice: Choice) -> np.ndarray:
        """float64 [n, w], by the trust that `choice` has in the lists of users int [n]."""
        extremes = int(self.interactions.min()), int(self.interactions.max())
        alpha = Trust(choice.alpha_1, choice.alpha_2, *extremes).alpha(self.interactions[users])
        return union.utility(alpha, choice.utility)


def _without(items: np.ndarray, since: Histories, n_items: int) -> np.ndarray:
    """items [n, m] with -1 where a row of `since` [n] has the item."""
    rows = np.arange(len(items))[:, None]
    taken = np.isin(rows * n_items + items, since.rows * n_items + since.items)
    return np.where(taken & (items >= 0), -1, items)


def _since(histories: Histories, fitted: np.ndarray) -> Histories:
    """What stands behind the first fitted [n] items of each history."""
    later = histories.steps_back < (histories.lengths - fitted)[histories.rows]
    lengths = histories.lengths - fitted
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), histories.items[later])


def try_part(served: Served, part: Part) -> Tried:
    """Every choice of GRID on the validation items of the users of `part`; the training items are masked."""
    total = Tried.none()
    for users, rows, targets, _ in read_targets(part, "valid"):
        union, ndcg = served.union(users, None), np.zeros(len(GRID))
        for number, choice in enumerate(GRID):
            places = union.places(served.utility(union, users, choice), rows, targets)
            ndcg[number] = _ndcg(rows, places)
        own = union.recommender_place[rows] * (union.items[rows] == targets[:, None])
        total += Tried(len(users), ndcg, _ndcg(rows, own.max(axis=1)))
    return total


def _ndcg(rows: np.ndarray, places: np.ndarray) -> float:
    """The sum over users of NDCG@10, from the place of each target and its user's row."""
    _, values = per_user(rows, places, [K])
    return float(values[:, METRICS.index("ndcg"), 0].sum())
