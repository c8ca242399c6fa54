"""BM25 as an item-to-item model, as in LLM-I2I (arXiv 2512.21595). The `implicit` library finds the neighbours.

What we could read of the paper does not say how BM25 is applied to items. Here it weights the item x user matrix.
"""

import numpy as np
from implicit.nearest_neighbours import bm25_weight
from scipy.sparse import csr_matrix

from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.nearest import nearest_items
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY, Neighbours, NeighboursSection

K1, B = 1.2, 0.75


class BM25Section(NeighboursSection):
    pass


class BM25(Neighbours):
    """Similarities are dot products of rows of the BM25-weighted item x user matrix. An item is a document, a user is a
    term, and the weight of an interaction is the term frequency.
    """

    section: BM25Section

    def of_log(self, train: Interactions) -> csr_matrix:
        ratings = train.matrix.astype(np.float64)
        ratings.eliminate_zeros()
        weighted = csr_matrix(bm25_weight(ratings.T, K1=K1, B=B).T)
        return nearest_items(weighted, self.section.neighbours)


SPEC = RecommenderSpec(
    title="BM25",
    settings=BM25Section,
    model=BM25,
    space={"neighbours": NEIGHBOURS, "recency": RECENCY},
    item_to_item=True,
)
