"""LightGCN (He et al., arXiv 2002.02126): the mean of the embeddings over the layers of a linear graph convolution."""

from longtail.recipe.section import Positive
from longtail.recipe.tuning import Space
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.trained_section import LEARNING, TextSection


class LightGCNSection(TextSection):
    layers: Positive = 2


GRAPH: Space = LEARNING | {"layers": [1, 2, 3, 4]}
SPEC = RecommenderSpec(
    title="LightGCN",
    settings=LightGCNSection,
    model="longtail.recommenders.models.factors.Factors",
    space=GRAPH,
    keeps_users=True,
)
