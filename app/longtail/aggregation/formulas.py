"""What the kinds of fusion are made of: how sparse a user is, the utility of an item in a list, two lists as one.

The formulas of Llama4Rec's adaptive aggregation (arXiv 2401.13870, eq. 5-7) on NumPy arrays, vectorised over users, without
Ray, files or HTTP. The lists of n users are an array [n, k], one row per user, best first; -1 marks a place without an item.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

C = 1.0
"""Utility lost with each place (Llama4Rec: C = 1)."""

BUCKETS = 5
"""The number of sparsity buckets."""

Utility = Literal["rank", "score"]
"""The utility of an item in a list: minus its place (`rank`, as in the paper), or score / largest score (`score`)."""


def long_tail_coefficient(interactions: np.ndarray) -> np.ndarray:
    """l_u = log(N(u) + 1) for N(u) interactions; any shape, float64 of the same shape."""
    return np.log1p(np.asarray(interactions, np.float64))


@dataclass(frozen=True)
class Sparsity:
    """How sparse a user is among the training users.

    shortest, longest: the smallest and the largest number of training interactions of a user, which give l_min and l_max.
    edges: BUCKETS - 1 rising numbers of interactions, which cut the training users into buckets of about equal size.
    """

    shortest: int
    longest: int
    edges: tuple[int, ...]

    @classmethod
    def among(cls, lengths: np.ndarray) -> "Sparsity":
        """From the number of training interactions of every user, int [users] with at least one user."""
        cuts = np.quantile(lengths, np.arange(1, BUCKETS) / BUCKETS, method="inverted_cdf")
        return cls(int(lengths.min()), int(lengths.max()), tuple(int(cut) for cut in cuts))

    def of(self, interactions: np.ndarray) -> np.ndarray:
        """(l_max - l_u) / (l_max - l_min) for N(u) interactions; any shape, float64 in 0..1 of the same shape.

        It never rises in N(u). A user with fewer interactions than `shortest`, or more than `longest`, counts as one with
        that number. If both are equal, the fraction would be 0 / 0. Then it is 1 for users with at most this number, and 0
        for users with more.
        """
        low, high = long_tail_coefficient([self.shortest, self.longest])
        l_u = long_tail_coefficient(interactions)
        sparsity = (high - l_u) / (high - low) if high > low else np.where(l_u > high, 0.0, 1.0)
        return np.clip(sparsity, 0, 1)

    def bucket(self, interactions: np.ndarray) -> np.ndarray:
        """The number of edges below N(u): any shape, int64 of the same shape; 0 are the sparsest users.

        If many users have the same number of interactions, edges are equal and some buckets have no user.
        """
        return np.searchsorted(self.edges, interactions, side="left")


def rank_utility(places: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """U(i) = -s * C, with s the 1-based place of item i in a list: float64 [n, k] from places [n, k].

    Place 0 means that the list lacks the item. In the paper this cannot happen, because both lists hold the same k'
    items. Here such an item has place k' + 1, after all items of the list, with k' = lengths [n].
    """
    return -C * np.where(places > 0, places, lengths[:, None] + 1).astype(np.float64)


def score_utility(scores: np.ndarray, named: np.ndarray) -> np.ndarray:
    """U(i) = score / the largest score of the list: float64 [n, k] in 0..1, from scores [n, k]; 0 if not `named`.

    named bool [n, k]: whether the list has the item. The scores of factor models can be negative. If a list has a
    negative score, its lowest score is first subtracted from all of them. If no score is then above 0, all utilities
    are 0.
    """
    scores = np.where(named, scores, 0).astype(np.float64)
    raised = np.where(named, scores - scores.min(axis=1, keepdims=True, initial=0), 0)
    largest = raised.max(axis=1, keepdims=True, initial=0)
    return np.divide(raised, largest, out=np.zeros_like(raised), where=largest > 0)


@dataclass(frozen=True)
class Union:
    """The items of both lists of each of n users, as arrays [n, w].

    A row has the recommender's items in its order, then the items that only the LLM's list has, in its order. items
    int32, -1 if there is none. places int32, 1-based, 0 if that list lacks the item. scores float32, 0 if it lacks the
    item.
    """

    items: np.ndarray
    recommender_place: np.ndarray
    recommender_score: np.ndarray
    llm_place: np.ndarray
    llm_score: np.ndarray

    @classmethod
    def of(
        cls,
        recommender: tuple[np.ndarray, np.ndarray],
        llm: tuple[np.ndarray, np.ndarray],
    ) -> "Union":
        """From items int32 and scores float32, [n, k] each, of the recommender, and [n, m] each of the LLM.

        A row holds an item at most once. Places count only the items of a list: entries of -1 between them are skipped.
        """
        first, second = recommender[0], llm[0]
        places = [np.cumsum(items >= 0, axis=1, dtype=np.int32) * (items >= 0) for items in (first, second)]
        there, back = _columns(first, second)
        alone = np.where(back < 0, second, -1)
        none = np.zeros(second.shape)
        return cls(
            items=np.concatenate([first, alone], axis=1).astype(np.int32),
            recommender_place=np.concatenate([places[0], none], axis=1).astype(np.int32),
            recommender_score=np.concatenate([recommender[1], none], axis=1).astype(np.float32),
            llm_place=np.concatenate([_at(places[1], there), places[1] * (back < 0)], axis=1),
            llm_score=np.concatenate([_at(llm[1], there), llm[1]], axis=1).astype(np.float32),
        )

    def utilities(self, of_list: Utility) -> tuple[np.ndarray, np.ndarray]:
        """U_Rec and U_LLM of every item: float64 [n, w] each.

        k' of `rank_utility` is the length of the longer list, so that a short list has no advantage.
        """
        if of_list == "score":
            return (
                score_utility(self.recommender_score, self.recommender_place > 0),
                score_utility(self.llm_score, self.llm_place > 0),
            )
        lengths = np.maximum(
            self.recommender_place.max(axis=1, initial=0), self.llm_place.max(axis=1, initial=0)
        )
        return rank_utility(self.recommender_place, lengths), rank_utility(self.llm_place, lengths)

    def best(self, utility: np.ndarray, k: int) -> np.ndarray:
        """The columns of the k items with the highest utility [n, w], best first: int64 [n, min(k, w)].

        Items of equal utility stay in the order of the union. So alpha = 0 gives the recommender's list, followed by
        the items that only the LLM's list has, and alpha = 1 begins with the LLM's list.
        """
        return np.argsort(-utility, axis=1, kind="stable")[:, :k]

    def column_of(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The column of items int [t] in rows int [t]: int64 [t], -1 if neither list has the item."""
        found = self.items[rows] == items[:, None]
        return np.where(found.any(axis=1), found.argmax(axis=1), -1)


def places(utility: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The 1-based place, in the order of `Union.best`, of columns int [t] of rows int [t]: int64 [t], 0 if it is -1.

    utility float64 [n, w]: that of each item of the union.
    """
    of_row, column = utility[rows], columns[:, None]
    own = np.take_along_axis(of_row, np.maximum(column, 0), axis=1)
    before = (of_row > own) | ((of_row == own) & (np.arange(of_row.shape[1]) < column))
    return np.where(columns >= 0, 1 + before.sum(axis=1), 0)


def _columns(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each item's column in the same row of the other list, for `first` int [n, k] and `second` int [n, m]: int64.

    -1 if the other list lacks the item, or if there is no item.
    """
    there, back = np.full(first.shape, -1), np.full(second.shape, -1)
    stride = max(first.max(initial=0), second.max(initial=0)) + 1
    keys = [np.arange(len(items))[:, None] * stride + items for items in (first, second)]
    held = [np.flatnonzero(items >= 0) for items in (first, second)]
    _, one, other = np.intersect1d(
        keys[0].ravel()[held[0]], keys[1].ravel()[held[1]], assume_unique=True, return_indices=True
    )
    one, other = held[0][one], held[1][other]
    there.ravel()[one] = other % max(second.shape[1], 1)
    back.ravel()[other] = one % max(first.shape[1], 1)
    return there, back


def _at(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The values [n, m] at columns [n, k] of the same row: [n, k], 0 if the column is -1."""
    if not values.shape[1]:
        return np.zeros(columns.shape, values.dtype)
    return np.where(columns >= 0, np.take_along_axis(values, np.maximum(columns, 0), axis=1), 0)
