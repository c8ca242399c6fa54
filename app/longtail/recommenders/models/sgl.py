"""SGL with edge dropout (Wu et al., arXiv 2010.10783): LightGCN plus a contrastive loss between two views of the graph."""

from typing import Annotated

from pydantic import Field

from longtail.recipe import LogRange
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.models.lightgcn import GRAPH, LightGCNSection


class SGLSection(LightGCNSection):
    contrast_weight: Annotated[float, Field(ge=0)] = 0.1
    """lambda of the contrastive loss."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The share of the edges that each of the two views leaves out."""


SPEC = RecommenderSpec(
    title="SGL",
    settings=SGLSection,
    model="longtail.recommenders.models.sgl_model.SGL",
    space=GRAPH
    | {
        "contrast_weight": LogRange(log=(0.005, 0.5)),
        "temperature": [0.1, 0.2, 0.5],
        "dropout": [0.1, 0.2, 0.4],
    },
    keeps_users=True,
)
