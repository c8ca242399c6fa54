"""Llama4Rec's adaptive aggregator (arXiv 2401.13870, eq. 5-7): the sparser a user, the more the LLM counts.

Pure formulas on numpy arrays, vectorised over users; nothing here knows of Ray, files or HTTP.
"""

from dataclasses import dataclass

import numpy as np

C = 1.0
"""Utility lost with each place (Llama4Rec: C = 1)."""


def long_tail_coefficient(interactions: np.ndarray) -> np.ndarray:
    """l_u = log(N(u) + 1) for N(u) interactions; any shape, float64 of the same shape."""
    return np.log1p(np.asarray(interactions, np.float64))


@dataclass(frozen=True)
class Trust:
    """How much the LLM counts for a user.

    alpha_u = alpha_1 * max((l_max - l_u) / (l_max - l_min), alpha_2), so within [alpha_1 * alpha_2, alpha_1].
    `shortest` and `longest` are the numbers of interactions behind l_min and l_max, over the training users.
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


def list_utility(places: np.ndarray, candidates: int) -> np.ndarray:
    """U(i) = -s * C, with s the 1-based place of item i in a list; any shape, float64.

    Place 0 says that the list lacks the item. The paper, where both lists hold the same k' `candidates`,
    leaves that case open; here such an item stands at place k' + 1, after everything that the list names.
    """
    places = np.asarray(places)
    return -C * np.where(places > 0, places, candidates + 1).astype(np.float64)


@dataclass(frozen=True)
class Ranking:
    """Items by falling utility, arrays of one length; 1-based places, 0 where that list lacks the item."""

    items: np.ndarray  # int32
    utility: np.ndarray  # float64, U = alpha * U_LLM + (1 - alpha) * U_Rec
    recommender_place: np.ndarray  # int32
    llm_place: np.ndarray  # int32


def aggregate(recommender: np.ndarray, llm: np.ndarray, alpha: float) -> Ranking:
    """Rank the union of two lists by U = alpha * U_LLM + (1 - alpha) * U_Rec.

    recommender int32 [n] and llm int32 [m] hold distinct items, best first; k' is the longer length, so that
    neither list gains by being short. Equal utilities keep the recommender's order, then the LLM's: alpha = 0
    returns the recommender's list with the LLM's own items after it, alpha = 1 the other way round.
    """
    items = np.concatenate([recommender, llm[~np.isin(llm, recommender)]]).astype(np.int32)
    recommender_place, llm_place = _places(items, recommender), _places(items, llm)
    candidates = max(len(recommender), len(llm))
    u_llm, u_rec = list_utility(llm_place, candidates), list_utility(recommender_place, candidates)
    utility = alpha * u_llm + (1 - alpha) * u_rec
    order = np.argsort(-utility, kind="stable")
    return Ranking(items[order], utility[order], recommender_place[order], llm_place[order])


def _places(items: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """1-based place of each item in `ranked`, 0 where it is absent."""
    if not len(ranked):
        return np.zeros(len(items), np.int32)
    order = np.argsort(ranked)
    spot = np.minimum(np.searchsorted(ranked, items, sorter=order), len(ranked) - 1)
    found = order[spot]
    return np.where(ranked[found] == items, found + 1, 0).astype(np.int32)
