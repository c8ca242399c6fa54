"""What a choice on validation must not lose."""

from typing import Annotated

from pydantic import Field, field_validator

from longtail.recipe.judging import Slice
from longtail.recipe.section import Section

StandardErrors = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Constraint(Section):
    """What holds for every choice on validation: of the judge (`sweep`), of recommenders' settings (`tune`), of how a list
    is fused, and of what is served. On each of these slices NDCG@10 must be no lower than that of the same recommender on
    the observed log; for `tune` with the recipe's own settings, for a fusion without the list. If no candidate meets this,
    nothing is added or changed.
    """

    slices: list[Slice] = ["tail", "sparse"]
    """head, mid, tail and cold are slices by the popularity of the item; sparse, regular and active are slices by the length
    of the user's history. An empty list switches the constraint off."""
    within_se: StandardErrors = 1.0
    """A slice may be lower by this many standard errors of the difference, paired per user."""

    @field_validator("slices")
    @classmethod
    def _once(cls, slices: list[Slice]) -> list[Slice]:
        if twice := sorted({name for name in slices if slices.count(name) > 1}):
            raise ValueError(f"each slice at most once, got {', '.join(twice)} more often")
        return slices
