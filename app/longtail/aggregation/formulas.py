"""Llama4Rec's adaptive aggregator (arXiv 2401.13870, eq. 5-7): the sparser a user, the more the LLM counts.

Pure formulas on numpy arrays, vectorised over users; nothing here knows of Ray, files or HTTP. A batch of lists is an array
[n, k], one row a user, best first; -1 marks a place without an item.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

C = 1.0
"""Utility lost with each place (Llama4Rec: C = 1)."""

Utility = Literal["rank", "score"]
"""What a list says about an item: minus its place, as in the paper, or its share of the list's largest score."""


def long_tail_coefficient(interactions: np.ndarray) -> np.ndarray:
    """l_u = log(N(u) + 1) for N(u) interactions; any shape, float64 of the same shape."""
    return np.log1p(np.asarray(interactions, np.float64))


@dataclass(frozen=True)
class Trust:
    """How much the LLM counts for a user.

    alpha_u = alpha_1 * max((l_max - l_u) / (l_max - l_min), alpha_2), so within [alpha_1 * alpha_2, alpha_1]; with alpha_2
    = 1 it is alpha_1 for everybody. `shortest` and `longest` are the numbers of interactions behind l_min and l_max,
    over the training users.
    """

    alpha_1: float
    alpha_2: float
    shortest: int
    longest: int

    def alpha(self, interactions: np.ndarray) -> np.ndarray:
        """alpha_u for N(u) interactions; any shape, float64 of the same shape, never rising in N(u).

        A user beyond the range counts as the nearer extreme. Where all training users are equally long the
        fraction is 0 / 0; the one length then stands for the sparse end, and anybody longer for the other.
        """
        low, high = long_tail_coefficient([self.shortest, self.longest])
        l_u = long_tail_coefficient(interactions)
        sparsity = (high - l_u) / (high - low) if high > low else np.where(l_u > high, 0.0, 1.0)
        return self.alpha_1 * np.maximum(np.clip(sparsity, 0, 1), self.alpha_2)


def rank_utility(places: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """U(i) = -s * C, with s the 1-based place of item i in a list: float64 [n, k] from places [n, k].

    Place 0 says that the list lacks the item. The paper, where both lists hold the same k' items, leaves that case
    open; here such an item stands at place k' + 1, with k' = lengths [n], after everything that the list names.
    """
    return -C * np.where(places > 0, places, lengths[:, None] + 1).astype(np.float64)


def score_utility(scores: np.ndarray, named: np.ndarray) -> np.ndarray:
    """U(i) = score / the list's largest: float64 [n, k] in 0..1, from scores [n, k]; 0 for an item that is not `named`.

    Scores below 0 have no such share (those of factor models are of any sign): a list that has some is first raised until
    its lowest is 0. A list without any score above 0 then says nothing.
    """
    scores = np.where(named, scores, 0).astype(np.float64)
    raised = np.where(named, scores - scores.min(axis=1, keepdims=True, initial=0), 0)
    largest = raised.max(axis=1, keepdims=True, initial=0)
    return np.divide(raised, largest, out=np.zeros_like(raised), where=largest > 0)


@dataclass(frozen=True)
class Union:
    """The items of two lists of each of n users.

    Arrays [n, w], the recommender's items in its order, then those of the LLM alone in its order. items int32, -1 where
    there is none; places int32, 1-based, 0 where that list lacks the item; scores float32, 0 there.
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
        """From items int32 [n, k] and scores float32 [n, k] of the recommender, and [n, m] of the LLM.

        A row holds an item once. Places count the items of a list, not what is left out between them.
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

    def utility(self, alpha: np.ndarray, of_list: Utility) -> np.ndarray:
        """U = alpha * U_LLM + (1 - alpha) * U_Rec of every item: float64 [n, w], -inf where there is no item.

        alpha float [n]. k' is the longer length, so that neither list gains by being short.
        """
        if of_list == "rank":
            lengths = np.maximum(
                self.recommender_place.max(axis=1, initial=0), self.llm_place.max(axis=1, initial=0)
            )
            u_rec, u_llm = (
                rank_utility(places, lengths) for places in (self.recommender_place, self.llm_place)
            )
        else:
            u_rec = score_utility(self.recommender_score, self.recommender_place > 0)
            u_llm = score_utility(self.llm_score, self.llm_place > 0)
        weight = np.asarray(alpha, np.float64)[:, None]
        return np.where(self.items >= 0, weight * u_llm + (1 - weight) * u_rec, -np.inf)

    def best(self, utility: np.ndarray, k: int) -> np.ndarray:
        """Columns int64 [n, min(k, w)] by falling utility [n, w].

        Equal utilities keep the recommender's order, then the LLM's: alpha = 0 gives the recommender's list with the LLM's
        own items after it, alpha = 1 the LLM's list first.
        """
        return np.argsort(-utility, axis=1, kind="stable")[:, :k]

    def places(self, utility: np.ndarray, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The 1-based place of items int [t] in the order of `best`, each in the row of rows [t]: int64 [t], 0 if absent."""
        found = self.items[rows] == items[:, None]
        column = found.argmax(axis=1)[:, None]
        own, of_row = np.take_along_axis(utility[rows], column, axis=1), utility[rows]
        before = (of_row > own) | ((of_row == own) & (np.arange(of_row.shape[1]) < column))
        return np.where(found.any(axis=1), 1 + before.sum(axis=1), 0)


def _columns(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the items of `first` [n, k] stand in the same row of `second` [n, m], int64 [n, k], and the other way round.

    -1 where they do not; no item (-1) stands nowhere.
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
    """values [n, m] at columns [n, k] of the same row, 0 where the column is -1."""
    if not values.shape[1]:
        return np.zeros(columns.shape, values.dtype)
    return np.where(columns >= 0, np.take_along_axis(values, np.maximum(columns, 0), axis=1), 0)
