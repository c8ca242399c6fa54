"""BM25 as an item-to-item model, one of LLM-I2I's recommenders (papers 5.2), found by the `implicit` library."""

import numpy as np
from implicit.nearest_neighbours import bm25_weight
from scipy.sparse import csr_matrix

from longtail.recipe import BM25 as Section
from longtail.recommenders.interface import Interactions, Preferences, Targets
from longtail.recommenders.models.itemcf import nearest_items
from longtail.recommenders.models.neighbours import Neighbours

K1, B = 1.2, 0.75


class BM25(Neighbours):
    """Dot products of the BM25-weighted item x user matrix, the interaction weights as term frequencies."""

    name = "bm25"
    section: Section

    def _fit(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        ratings = train.matrix.astype(np.float64)
        ratings.eliminate_zeros()
        weighted = csr_matrix(bm25_weight(ratings.T, K1=K1, B=B).T)
        self.similarity = nearest_items(weighted, self.section.neighbours)
