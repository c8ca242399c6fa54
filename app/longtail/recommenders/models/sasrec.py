"""SASRec (Kang, McAuley, arXiv 1808.09781): a causal transformer predicts a user's next item."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from longtail.recipe import LogRange
from longtail.recipe.section import Count, Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.trained_section import TrainedSection


class SASRecSection(TrainedSection):
    meaning: ClassVar[int] = 2
    dim: Positive = 50
    epochs: Positive = 200
    lr_drops: Count = 1
    batch: Positive = 128
    """Users per step."""
    l2: Annotated[float, Field(ge=0)] = 0.0
    layers: Positive = 2
    heads: Positive = 1
    max_length: Positive = 50
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    loss: Literal["bce", "sampled", "full"] = "bce"
    """`bce` as published: one uniform negative per position. `sampled`: cross-entropy against `negatives` shared uniform
    ones; `full`: against the whole catalogue."""
    negatives: Positive = 256
    """Of the sampled loss."""
    engine: Literal["ddp", "deepspeed"] = "ddp"
    """`deepspeed` splits weights, gradients and optimiser state between workers (ZeRO 3), for catalogues whose
    embedding does not fit."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "SASRecSection":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        return self


SPEC = RecommenderSpec(
    title="SASRec",
    settings=SASRecSection,
    model="longtail.recommenders.models.sasrec_model.SASRec",
    space={
        "lr": LogRange(log=(3e-4, 5e-3)),
        "layers": [1, 2, 3],
        "dropout": [0.1, 0.2, 0.3, 0.5],
        "l2": [0.0, 1e-6, 1e-5, 1e-4],
    },
)
