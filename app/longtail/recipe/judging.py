"""The judge of what the LLMs propose, and the values of it that a sweep tries."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from longtail.recipe.section import Positive, Section, Share

ItemSlice = Literal["head", "mid", "tail", "cold"]
Slice = ItemSlice | Literal["all", "sparse", "regular", "active"]
NotNegative = Annotated[float, Field(ge=0)]
Weight = Annotated[float, Field(gt=0, le=1)]


class Judge(Section):
    """Blend of three confidences. Agreement with an independent collaborative score filters best, Yes/No alone worst."""

    likelihood: NotNegative = 0.3
    agreement: NotNegative = 0.5
    yes_no: NotNegative = 0.2
    """At 0 the discriminator is neither tuned nor asked, where nothing else needs it."""
    relative: bool = True
    """Each confidence is divided by the user's largest before it is blended."""
    tail_boost: Annotated[float, Field(gt=0)] = 1.0
    """Confidences of long-tail and cold items are multiplied by this."""
    tail_share: Share = 0.0
    """This share of what is kept is reserved for long-tail and cold items, if a user has such proposals; by default as
    large as `tail_share` of next_item."""
    threshold: Share = 0.0
    """A proposal whose blended confidence is lower is rejected."""
    keep: Positive = 5
    """At most this many proposals of a user are accepted."""
    weight: Weight = 0.3
    """Weight of a generated interaction; an observed one weighs 1."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in PRESETS:
            raise ValueError(f"no preset {given!r}; known: {', '.join(PRESETS)}")
        return PRESETS[given]

    @model_validator(mode="after")
    def _some_weight(self) -> "Judge":
        if self.likelihood + self.agreement + self.yes_no <= 0:
            raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "llm-i2i": {
        **{"likelihood": 0.0, "agreement": 0.0, "yes_no": 1.0, "relative": False},
        **{"threshold": 0.995, "keep": 10, "weight": 1.0},
    }
}
"""`judge: llm-i2i`: as the paper filters, a Yes whose confidence, rounded, is 1.0; full weight (papers 1.3, 1.4)."""


def _some_weight(blend: tuple[float, float, float]) -> tuple[float, float, float]:
    if sum(blend) <= 0:
        raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
    return blend


Blend = Annotated[tuple[NotNegative, NotNegative, NotNegative], AfterValidator(_some_weight)]
Values = Field(min_length=1)


class Sweep(Section):
    """The values of the judge that `longtail sweep` tries on validation; the recipe's own value is always among them."""

    slice: Slice = "all"
    """Best is what has the highest NDCG@10 on this slice of the validation items: by their own popularity, head to cold, or
    by the length of their user's history, sparse to active."""
    blend: Annotated[list[Blend], Values] = [(1, 0, 0), (0.5, 0.5, 0), (0.3, 0.7, 0), (0, 1, 0), (0, 0, 1)]
    """Weights of likelihood, agreement and yes_no."""
    keep: Annotated[list[Positive], Values] = [1, 3, 5, 10]
    weight: Annotated[list[Weight], Values] = [0.1, 0.3, 0.5, 1.0]
    tail_share: Annotated[list[Share], Values] = [0.0, 0.2, 0.4]
    threshold: Annotated[list[Share], Values] = [0.0, 0.2, 0.4, 0.6, 0.8]
    epochs: Positive | None = None
    """A trained recommender has at most so many epochs in a sweep; by default as many as the recipe gives it."""
