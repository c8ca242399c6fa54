"""BM25 as an item-to-item model, as in LLM-I2I (arXiv 2512.21595). The `implicit` library finds the neighbours.

What we could read of the paper does not say how BM25 is applied to items. Here it weights the item x user matrix.
"""

from typing import Annotated

import numpy as np
from implicit.nearest_neighbours import bm25_weight
from pydantic import Field
from scipy.sparse import csr_matrix

from longtail.recipe import RecommenderSection
from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions, Preferences, Targets
from longtail.recommenders.models.itemcf import nearest_items
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY, Neighbours

K1, B = 1.2, 0.75


class BM25Section(RecommenderSection):
    neighbours: Positive = 100
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0


class BM25(Neighbours):
    """Similarities are dot products of rows of the BM25-weighted item x user matrix. An item is a document, a user is a
    term, and the weight of an interaction is the term frequency.
    """

    section: BM25Section

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        ratings = train.matrix.astype(np.float64)
        ratings.eliminate_zeros()
        weighted = csr_matrix(bm25_weight(ratings.T, K1=K1, B=B).T)
        self.similarity = nearest_items(weighted, self.section.neighbours)


SPEC = RecommenderSpec(
    title="BM25",
    settings=BM25Section,
    model=BM25,
    space={"neighbours": NEIGHBOURS, "recency": RECENCY},
    item_to_item=True,
)
