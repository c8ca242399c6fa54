"""Which recommenders a recipe asks for, on what they are evaluated, and where each run of one lies."""

from dataclasses import dataclass
from typing import Literal

from longtail.recipe import Recipe, Trained, Variant


@dataclass(frozen=True)
class Run:
    """One fit: a recommender on a variant of the training set; `seed_index` counts its repetitions from 0."""

    recommender: str
    variant: Variant
    seed_index: int

    @property
    def name(self) -> str:
        return f"{self.variant}/{self.recommender}-{self.seed_index}"

    @property
    def place(self) -> str:
        """Where the fitted recommender is published, relative to the workspace."""
        return f"recommenders/{self.name}"

    @property
    def evaluation(self) -> str:
        """Where its ranks are published, relative to the workspace."""
        return f"evaluation/{self.name}"


def runs(recipe: Recipe) -> list[Run]:
    """Every fit of the recipe: models that draw random numbers `evaluation.seeds` times, others once."""
    return [
        Run(name, variant, seed_index)
        for name, section in recipe.recommenders.chosen().items()
        for variant in section.variants or recipe.variants
        for seed_index in range(recipe.evaluation.seeds if isinstance(section, Trained) else 1)
    ]


@dataclass(frozen=True)
class ServedRun:
    """A fit whose ranking is fused with another list: nothing is trained for it, it is only evaluated.

    `variant` is what the evaluation calls it; the list is the LLM's, of a strategy, or in its place, with `control`, as many
    items of the recipe's ItemCF, or of the fit's `own` ranking.
    """

    fit: Run
    variant: str
    strategy: str
    control: Literal["itemcf", "own"] | None = None

    @property
    def recommender(self) -> str:
        return self.fit.recommender

    @property
    def place(self) -> str:
        """Where the fitted recommender is published, relative to the workspace."""
        return self.fit.place

    @property
    def evaluation(self) -> str:
        """Where its ranks are published, relative to the workspace."""
        return f"evaluation/{self.variant}/{self.recommender}-{self.fit.seed_index}"


def served_runs(recipe: Recipe) -> list[ServedRun]:
    """What is evaluated as it would be served; none where no LLM ranks for users or the recipe does not want it.

    A list of `ranking` holds the best items of one recommender, so it is fused with the fits of no other.
    """
    if not recipe.served:
        return []
    ranked, found = recipe.strategies.get("ranking"), []
    for fit in runs(recipe):
        if "next_item" in recipe.strategies and fit.variant == "observed":
            found.append(ServedRun(fit, "served", "next_item"))
            found.append(ServedRun(fit, "served_itemcf", "next_item", control="itemcf"))
        if ranked and fit.variant == "observed" and fit.recommender == ranked.recommender:
            found.append(ServedRun(fit, "served_ranking", "ranking"))
            found.append(ServedRun(fit, "served_own", "ranking", control="own"))
        if "next_item" in recipe.strategies and fit.variant == "discriminated":
            found.append(ServedRun(fit, "served_discriminated", "next_item"))
    return found
