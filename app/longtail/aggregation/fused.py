"""A recommender fused with a list per user. Evaluation and serving both rank with it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from longtail.aggregation.formulas import Sparsity, Union, places
from longtail.aggregation.kinds import ALONE, Fusion
from longtail.aggregation.llm_lists import LLMLists
from longtail.arrays import offsets_of
from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender


@dataclass(frozen=True)
class Ranking:
    """The fused lists of n users.

    columns int64 [n, k]: the columns of the union's best items, best first; a column may hold no item. utility float64
    [n, w]: that of each item of the union. alpha float64 [n]: the weight of the second list, 0 for a user without one.
    interactions int64 [n]: N(u), the number of interactions of each user.
    """

    union: Union
    utility: np.ndarray
    columns: np.ndarray
    alpha: np.ndarray
    interactions: np.ndarray

    @classmethod
    def of(
        cls, union: Union, fusion: Fusion, alpha: np.ndarray, k: int, interactions: np.ndarray
    ) -> "Ranking":
        """The k items of highest utility for each user. alpha float [n]: see `Fusion.alpha`."""
        alpha = np.where((union.llm_place > 0).any(axis=1), alpha, 0.0)
        found = fusion.final_utility(union, alpha)
        return cls(union, found, union.best(found, k), alpha, interactions)

    def row(self, row: int) -> "Ranking":
        """The fused list of the user in this row, with n = 1."""
        one = slice(row, row + 1)
        union = Union(**{name: values[one] for name, values in vars(self.union).items()})
        return Ranking(union, self.utility[one], self.columns[one], self.alpha[one], self.interactions[one])

    @property
    def items(self) -> np.ndarray:
        """The items, best first: int32 [n, k], -1 if a user has fewer than k."""
        return np.take_along_axis(self.union.items, self.columns, axis=1)

    @property
    def scores(self) -> np.ndarray:
        """The utilities: float32 [n, k], -inf if there is no item."""
        return np.take_along_axis(self.utility, self.columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Fused:
    """A fitted recommender fused with a list of each user; it ranks as a `Recommender` does.

    The first `candidates` items of the recommender's own ranking take part; with none of them it is the list alone. If
    `control` is given, its list of the same length replaces the LLM's list. N(u) is the length of the history given in a
    call; how sparse that is, the training users say.
    """

    model: Recommender
    lists: LLMLists
    control: Recommender | None
    candidates: int
    fusion: Fusion = ALONE

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
        """The number of training interactions of every user: int64 [users]."""
        return self.seen.lengths

    def ranked(self, users: np.ndarray, k: int, since: Histories | None = None) -> Ranking:
        """The k best items for users int [n], from their training items and the items `since` [n]. Both are masked."""
        asked = self.interactions(users, since)
        alpha = self.fusion.alpha(asked, self.sparsity)
        return Ranking.of(self.union(users, since), self.fusion, alpha, k, asked)

    def recommend(
        self, users: np.ndarray, k: int, *, since: Histories | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Recommender.recommend`, but scores are utilities, and a user has at most the items of both lists."""
        found = self.ranked(users, k, since)
        return found.items, found.scores

    def score_pairs(self, histories: Histories, users: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """As `Recommender.score_pairs`. Items of neither list score below all others, in the recommender's order."""
        found = self.ranked(users, 0, _since(histories, self.trained[users]))
        union, utility = found.union, found.utility
        rows = np.repeat(np.arange(len(users)), candidates.shape[1])
        columns = union.column_of(rows, candidates.ravel())
        place = places(utility, rows, columns).reshape(candidates.shape)
        alone = np.zeros(candidates.shape)
        if self.candidates:
            alone = self.model.score_pairs(histories, users, candidates)
        distinct, order = np.unique(alone, return_inverse=True)
        fused = np.take_along_axis(np.sort(utility, axis=1)[:, ::-1], np.maximum(place - 1, 0), axis=1)
        lowest = utility.min(axis=1, keepdims=True, where=union.items >= 0, initial=0)
        return np.where(place > 0, fused - lowest + 1, order.reshape(alone.shape) / len(distinct))

    def union(self, users: np.ndarray, since: Histories | None) -> Union:
        """Both lists of users int [n], without the items `since` [n]."""
        llm = self.lists.of(users)
        if self.control is not None:
            length = llm[0].shape[1]
            items, scores = self.control.recommend(users, length, since=since)
            llm = np.where(np.arange(length) < self.lists.lengths[users][:, None], items, -1), scores
        if since is not None:
            llm = without(llm[0], since, self.n_items), llm[1]
        return Union.of(self._own(users, since), llm)

    def _own(self, users: np.ndarray, since: Histories | None) -> tuple[np.ndarray, np.ndarray]:
        if not self.candidates:
            return np.full((len(users), 1), -1, np.int32), np.zeros((len(users), 1), np.float32)
        return self.model.recommend(users, min(self.candidates, self.n_items), since=since)

    def interactions(self, users: np.ndarray, since: Histories | None) -> np.ndarray:
        """N(u), the length of the history, of users int [n]: int64 [n]."""
        return self.trained[users] + (0 if since is None else since.lengths)

    @cached_property
    def sparsity(self) -> Sparsity:
        return Sparsity.among(self.trained)


def without(items: np.ndarray, since: Histories, n_items: int) -> np.ndarray:
    """The items [n, m], with -1 in place of items that are in the same row of `since` [n]."""
    rows = np.arange(len(items))[:, None]
    taken = np.isin(rows * n_items + items, since.rows * n_items + since.items)
    return np.where(taken & (items >= 0), -1, items)


def _since(histories: Histories, fitted: np.ndarray) -> Histories:
    """The items of each history after the first `fitted` [n] ones."""
    lengths = histories.lengths - fitted
    later = histories.steps_back < lengths[histories.rows]
    return Histories(offsets_of(lengths), histories.items[later])
