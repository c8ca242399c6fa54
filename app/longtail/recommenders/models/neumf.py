"""NeuMF (He et al., arXiv 1708.05031): generalised matrix factorisation and a multi-layer perceptron, trained jointly."""

from typing import Annotated

from pydantic import Field, model_validator

from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.trained_section import LEARNING, TextSection


class NeuMFSection(TextSection):
    dim: Positive = 32
    hidden: Annotated[list[Positive], Field(min_length=2)] = [64, 32, 16]
    """The widths of the layers of the perceptron. The first is its input: half of it is for the user embedding, and half
    for the item embedding."""
    negatives: Positive = 4
    """The number of uniform negatives per positive."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _halves(self) -> "NeuMFSection":
        if self.hidden[0] % 2:
            raise ValueError(f"the first of hidden must be even, got {self.hidden[0]}")
        return self


SPEC = RecommenderSpec(
    title="NeuMF",
    settings=NeuMFSection,
    model="longtail.recommenders.models.neumf_model.NeuMF",
    space=LEARNING | {"negatives": [2, 4, 8], "dropout": [0.0, 0.2, 0.5]},
    keeps_users=True,
)
