"""The settings of the judge, which accepts or rejects proposals, and the values that a sweep tries."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from longtail.recipe.section import Positive, Section, Share
from longtail.variants import controls_of

ItemSlice = Literal["head", "mid", "tail", "cold"]
Slice = Literal["all", ItemSlice, "sparse", "regular", "active"]
NotNegative = Annotated[float, Field(ge=0)]
Weight = Annotated[float, Field(gt=0, le=1)]


class Judge(Section):
    """The judge blends three confidences of a proposal with these weights: the generator's likelihood, the agreement with
    ItemCF (an independent collaborative score), and the discriminator's Yes. Agreement filters best, Yes/No alone worst.
    """

    likelihood: NotNegative = 0.3
    agreement: NotNegative = 0.5
    yes_no: NotNegative = 0.2
    """If it is 0 and nothing else needs the discriminator, the discriminator is neither tuned nor asked."""
    relative: bool = True
    """Divide each confidence by the user's largest one before the blend."""
    tail_boost: Annotated[float, Field(gt=0)] = 1.0
    """Confidences of long-tail and cold items are multiplied by this."""
    tail_share: Share = 0.0
    """This share of the accepted proposals is reserved for long-tail and cold items, if a user has such proposals. By
    default it equals `tail_share` of next_item."""
    threshold: Share = 0.0
    """A proposal with a lower blended confidence is rejected."""
    keep: Positive = 5
    """At most this many proposals of a user are accepted."""
    weight: Weight = 0.3
    """Weight of a generated interaction in training. An observed one has weight 1."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in PRESETS:
            raise ValueError(f"there is no preset {given!r}; known: {', '.join(PRESETS)}")
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
"""`judge: llm-i2i`: the filter of LLM-I2I (arXiv 2512.21595). It accepts a proposal if the answer is Yes with a
confidence that rounds to 1.0, and gives it full weight in the training set."""


def _some_weight(blend: tuple[float, float, float]) -> tuple[float, float, float]:
    if sum(blend) <= 0:
        raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
    return blend


Blend = Annotated[tuple[NotNegative, NotNegative, NotNegative], AfterValidator(_some_weight)]
Values = Field(min_length=1)
JudgedControl = Literal[controls_of("discriminated")]


class Sweep(Section):
    """The values of the judge that `longtail sweep` tries on validation, for the LLM and for controls in the same way. The
    recipe's own values are always tried too."""

    slice: Slice = "all"
    """The best values have the highest NDCG@10 on this slice of the validation items. head, mid, tail and cold are slices by
    the popularity of the item; sparse, regular and active are slices by the length of the user's history."""
    controls: Annotated[list[JudgedControl], Values] = ["itemcf"]
    """The controls of `discriminated` for which values are searched too."""
    blend: Annotated[list[Blend], Values] = [(1, 0, 0), (0.5, 0.5, 0), (0.3, 0.7, 0), (0, 1, 0), (0, 0, 1)]
    """Weights of likelihood, agreement and yes_no."""
    keep: Annotated[list[Positive], Values] = [1, 3, 5, 10]
    weight: Annotated[list[Weight], Values] = [0.1, 0.3, 0.5, 1.0]
    tail_share: Annotated[list[Share], Values] = [0.0, 0.2, 0.4]
    threshold: Annotated[list[Share], Values] = [0.0, 0.2, 0.4, 0.6, 0.8]
    epochs: Positive | None = None
    """The largest number of epochs of a trained recommender in a sweep; by default that of the recipe."""
