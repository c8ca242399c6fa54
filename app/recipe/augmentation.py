"""How the LLMs are asked and judged."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.recipe.section import Positive, Section, Share


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
