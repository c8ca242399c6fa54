"""The LLMs: how they are tuned, asked and judged."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.recipe.section import Count, Positive, Section, Share


class LLM(Section):
    base: str = "small"
    """`small` (a Llama from scratch), a Hugging Face id, or a local path."""
    items: Literal["token", "title", "id"] = "token"
    """How an item is written in a prompt."""
    hidden: Positive = 64
    layers: Positive = 2
    """Size of `small`."""


class Tuning(Section):
    epochs: Positive = 3
    batch: Positive = 64
    """Examples per optimiser step, over all workers."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    zero: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage."""
    lora: Count = 0
    """Rank of the adapters; 0 tunes all weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    history: Positive = 10
    """A prompt carries this many of the latest interactions (LLM-I2I: 10)."""


class Generator(Tuning):
    epochs: Positive = 20
    tail_weight: Annotated[float, Field(gt=0)] = 4.0
    """Loss weight of a long-tail target; any other weighs 1 (LLM-I2I, alpha and beta)."""


class Discriminator(Tuning):
    epochs: Positive = 2
    lr: Annotated[float, Field(gt=0)] = 1e-3
    negatives: Literal["random", "popular"] = "random"
    """Where the items that a user did not take come from (LLM-I2I: random)."""
    negatives_per_positive: Positive = 1


class NextItem(Section):
    """LLM-I2I: the items that a user would take next."""

    strategy: Literal["next_item"] = "next_item"
    proposals: Positive = 10
    tail_share: Share = 0.0
    """This share of a user's proposals, and of those the judge keeps, is reserved for long-tail and cold items."""


class Judge(Section):
    """Blend of three confidences. Agreement with an independent collaborative score filters best, Yes/No alone worst."""

    likelihood: Annotated[float, Field(ge=0)] = 0.3
    agreement: Annotated[float, Field(ge=0)] = 0.5
    yes_no: Annotated[float, Field(ge=0)] = 0.2
    threshold: Share = 0.0
    """A proposal whose blended confidence is lower is rejected."""
    keep: Positive = 5
    """At most this many proposals of a user are accepted."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of a generated interaction; an observed one weighs 1."""

    @model_validator(mode="after")
    def _some_weight(self) -> "Judge":
        if self.likelihood + self.agreement + self.yes_no <= 0:
            raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
        return self
