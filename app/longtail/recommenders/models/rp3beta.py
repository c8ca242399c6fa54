"""RP3beta (Paudel et al., ACM TiiS 7(1), 2017, 10.1145/2955101): a random walk of three steps, which likes rare items.

The walk goes from a user to an item of the history, to another user of this item, and to an item of that user.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix, diags, vstack

from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.nearest import nearest
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY, Neighbours, NeighboursSection
from longtail.recommenders.recommender import SCORES_AT_ONCE


class RP3betaSection(NeighboursSection):
    alpha: Annotated[float, Field(gt=0, le=2)] = 0.4
    """The exponent of each transition probability, as in P3alpha. 1: the walk as it is."""
    beta: Annotated[float, Field(ge=0, le=2)] = 0.2
    """A score is divided by (the interactions of the item)^beta. A higher value gives rarer items; 0: P3alpha."""


class RP3beta(Neighbours):
    """s(j, i) = sum_v (r_vj / d_j)^alpha (r_vi / d_v)^alpha / d_i^beta, with the interaction weights r of users v, and the
    degrees d_j = sum_v r_vj of an item and d_v = sum_i r_vi of a user.

    These are the last two steps of the walk, from item j. The first step goes from the user to each item of the history
    with the same probability, so it changes no ranking: the sum over the history stands for it.
    """

    section: RP3betaSection

    def of_log(self, train: Interactions) -> csr_matrix:
        ratings = train.matrix.astype(np.float64)
        ratings.eliminate_zeros()
        alpha, degrees = self.section.alpha, np.asarray(ratings.sum(axis=0)).ravel()
        to_users, to_items = _steps(ratings.T, alpha), _steps(ratings, alpha)
        to_items = csr_matrix(to_items @ diags(_power(degrees, -self.section.beta)))
        rows = max(
            1, SCORES_AT_ONCE // max(1, train.n_items)
        )  # the memory of a block, if all of it is filled
        blocks = [
            nearest(to_users[start : start + rows] @ to_items, self.section.neighbours, start)
            for start in range(0, train.n_items, rows)
        ]
        return csr_matrix(vstack(blocks))


def _steps(weights: csr_matrix, alpha: float) -> csr_matrix:
    """The transition probabilities from each row to each column, to the power of alpha."""
    found = csr_matrix(diags(_power(np.asarray(weights.sum(axis=1)).ravel(), -1.0)) @ weights)
    found.data **= alpha
    return found


def _power(degrees: np.ndarray, exponent: float) -> np.ndarray:
    """degrees^exponent, and 0 for a degree of 0."""
    return np.where(degrees > 0, np.where(degrees > 0, degrees, 1) ** exponent, 0)


SPEC = RecommenderSpec(
    title="RP3beta",
    settings=RP3betaSection,
    model=RP3beta,
    space={
        "alpha": [0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.2],
        "beta": [0.0, 0.1, 0.2, 0.4, 0.6, 0.8],
        "neighbours": NEIGHBOURS,
        "recency": RECENCY,
    },
    item_to_item=True,
)
