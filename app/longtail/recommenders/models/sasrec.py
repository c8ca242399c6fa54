"""SASRec (Kang, McAuley, arXiv 1808.09781): a causal transformer predicts a user's next item.

The default loss and the block `ligr` are those of eSASRec (arXiv 2508.06450).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from longtail.recipe import LogRange
from longtail.recipe.section import Count, Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.trained_section import TextSection


class SASRecSection(TextSection):
    meaning: ClassVar[int] = 3
    epochs: Positive = 200
    lr_drops: Count = 1
    batch: Positive = 128
    """The number of users per step."""
    l2: Annotated[float, Field(ge=0)] = 0.0
    layers: Positive = 2
    heads: Positive = 1
    max_length: Positive = 50
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    block: Literal["sasrec", "ligr"] = "sasrec"
    """`ligr`: gated residuals and a SwiGLU network in place of the point-wise one (arXiv 2502.03417, 2508.06450)."""
    expansion: Positive = 4
    """The width of the network of the block `ligr`, in multiples of `dim`."""
    loss: Literal["bce", "sampled", "full"] = "sampled"
    """`bce`: binary cross-entropy with one uniform negative per position, as in the paper. `sampled`: cross-entropy
    against `negatives` uniform items, new ones for every 16 positions. `full`: against all items with an interaction."""
    negatives: Positive = 256
    """The number of negatives of the loss `sampled`."""
    engine: Literal["ddp", "deepspeed"] = "ddp"
    """`deepspeed` splits weights, gradients and optimiser state between workers (ZeRO 3). It is for catalogues whose
    embedding does not fit in the memory of one worker."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "SASRecSection":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        return self

    @model_validator(mode="after")
    def _text_is_whole(self) -> "SASRecSection":
        if self.text and self.engine != "ddp":
            raise ValueError(f"text needs engine ddp, got {self.engine}")
        return self


SPEC = RecommenderSpec(
    title="SASRec",
    settings=SASRecSection,
    model="longtail.recommenders.models.sasrec_model.SASRec",
    space={
        "lr": LogRange(log=(3e-4, 5e-3)),
        "layers": [1, 2, 3],
        "heads": [1, 2],
        "block": ["sasrec", "ligr"],
        "dropout": [0.1, 0.2, 0.3, 0.5],
        "l2": [0.0, 1e-6, 1e-5, 1e-4],
    },
)
