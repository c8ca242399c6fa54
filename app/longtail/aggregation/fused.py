"""A recommender fused with a list of each user: what is evaluated and what is served both rank by this."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from longtail.aggregation.formulas import Trust, Union, Utility
from longtail.aggregation.llm_lists import LLMLists
from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender


@dataclass(frozen=True)
class Choice:
    """How the two lists are fused: settings of the recipe's `serving`."""

    alpha_1: float
    alpha_2: float
    utility: Utility


ALONE = Choice(0.0, 1.0, "rank")
"""The recommender's ranking; a list only fills what it leaves free."""


@dataclass(frozen=True)
class Ranking:
    """The fused lists of n users.

    columns int64 [n, k]: which of the union stand first, best first; some may hold no item. utility float64 [n, w].
    alpha float64 [n]: the weight of the second list, 0 for a user who has none. interactions int64 [n]: N(u).
    """

    union: Union
    utility: np.ndarray
    columns: np.ndarray
    alpha: np.ndarray
    interactions: np.ndarray

    @classmethod
    def of(
        cls, union: Union, alpha: np.ndarray, utility: Utility, k: int, interactions: np.ndarray
    ) -> "Ranking":
        """The k best by falling utility."""
        alpha = np.where((union.llm_place > 0).any(axis=1), alpha, 0.0)
        found = union.utility(alpha, utility)
        return cls(union, found, union.best(found, k), alpha, interactions)

    def row(self, row: int) -> "Ranking":
        """That of one user."""
        one = slice(row, row + 1)
        union = Union(**{name: values[one] for name, values in vars(self.union).items()})
        return Ranking(union, self.utility[one], self.columns[one], self.alpha[one], self.interactions[one])

    @property
    def items(self) -> np.ndarray:
        """int32 [n, k], -1 where there are fewer."""
        return np.take_along_axis(self.union.items, self.columns, axis=1)

    @property
    def scores(self) -> np.ndarray:
        """The utilities, float32 [n, k], -inf where there is no item."""
        return np.take_along_axis(self.utility, self.columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Fused:
    """A fitted recommender fused with a list of each user; it ranks as a `Recommender` does.

    Of the recommender's own ranking `candidates` items take part. With `control` its list stands in for the LLM's, as
    long as that. N(u) is the length of the history that is asked with; l_min and l_max are those of the training users.
    """

    model: Recommender
    lists: LLMLists
    control: Recommender | None
    candidates: int
    choice: Choice = ALONE

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
    def trained(self) -> np.ndarray:
        """Training interactions of every user."""
        return self.seen.lengths

    def ranked(self, users: np.ndarray, k: int, since: Histories | None = None) -> Ranking:
        """The k best for users int [n], asked with their training items and what they took `since`; both are masked."""
        union, asked = self.union(users, since), self.interactions(users, since)
        alpha = self.trust(self.choice).alpha(asked)
        return Ranking.of(union, alpha, self.choice.utility, k, asked)

    def recommend(
        self, users: np.ndarray, k: int, *, since: Histories | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Recommender.recommend`; scores are the utilities, and k at most what both lists hold together."""
        found = self.ranked(users, k, since)
        return found.items, found.scores

    def score_pairs(self, histories: Histories, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """As `Recommender.score_pairs`: what neither list holds stands below what one does, in the recommender's order."""
        found = self.ranked(users, 0, _since(histories, self.trained[users]))
        union, utility = found.union, found.utility
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

    def interactions(self, users: np.ndarray, since: Histories | None) -> np.ndarray:
        """N(u) of users int [n]."""
        return self.trained[users] + (0 if since is None else since.lengths)

    def trust(self, choice: Choice) -> Trust:
        return Trust(choice.alpha_1, choice.alpha_2, int(self.trained.min()), int(self.trained.max()))


def _without(items: np.ndarray, since: Histories, n_items: int) -> np.ndarray:
    """items [n, m] with -1 where a row of `since` [n] has the item."""
    rows = np.arange(len(items))[:, None]
    taken = np.isin(rows * n_items + items, since.rows * n_items + since.items)
    return np.where(taken & (items >= 0), -1, items)


def _since(histories: Histories, fitted: np.ndarray) -> Histories:
    """What stands after the first fitted [n] items of each history."""
    lengths = histories.lengths - fitted
    later = histories.steps_back < lengths[histories.rows]
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), histories.items[later])
