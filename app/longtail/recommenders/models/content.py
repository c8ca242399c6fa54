"""Content: neighbours by the texts of items alone. It is the control for what else knows texts."""

from typing import Annotated

from pydantic import Field
from scipy.sparse import csr_matrix

from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY, Neighbours, NeighboursSection


class ContentSection(NeighboursSection):
    text: Annotated[float, Field(gt=0)] = 1.0
    """The unit of the scores. It changes no ranking, because nothing stands beside the texts."""


class Content(Neighbours):
    """The log says nothing here but which items are cold: they take `cold_share` of the first places at most."""

    section: ContentSection

    def of_log(self, train: Interactions) -> csr_matrix:
        return csr_matrix((train.n_items, train.n_items), dtype="float32")


SPEC = RecommenderSpec(
    title="Content",
    settings=ContentSection,
    model=Content,
    space={"neighbours": NEIGHBOURS, "recency": RECENCY},
    item_to_item=True,
)
