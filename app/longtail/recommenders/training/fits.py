"""Which recommenders a recipe asks for, on what they are evaluated, and where each run of one lies."""

from dataclasses import dataclass
from itertools import product

from longtail.recipe import Recipe
from longtail.recommenders.trained_section import TrainedSection
from longtail.variants import VARIANTS, StandIn, TrainedVariant


@dataclass(frozen=True)
class Run:
    """One fit: a recommender on a variant of the training set; `seed_index` counts its repetitions from 0."""

    recommender: str
    variant: TrainedVariant
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
        for name, section in recipe.recommenders.items()
        for variant in section.variants or recipe.variants
        for seed_index in range(recipe.evaluation.seeds if isinstance(section, TrainedSection) else 1)
    ]


@dataclass(frozen=True)
class ServedRun:
    """A fit whose ranking is fused with another list: nothing is trained for it, it is only evaluated.

    `variant` is what the evaluation calls it; the list is the LLM's, of a strategy, or what stands in for it: as many items
    of the recipe's ItemCF (`best`), or of the fit's `own` ranking.
    """

    fit: Run
    variant: str

    @property
    def strategy(self) -> str:
        return VARIANTS[self.variant].sources[0]

    @property
    def stand_in(self) -> StandIn | None:
        return VARIANTS[self.variant].stand_in

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
    declared = (
        one for one in VARIANTS.values() if one.kind == "served" and one.sources[0] in recipe.strategies
    )
    ranked, found = recipe.strategies.get("ranking"), []
    for fit, one in product(runs(recipe), declared):
        of_another = one.sources[0] == "ranking" and fit.recommender != ranked.recommender
        if fit.variant == one.fitted_on and not of_another:
            both = (one, VARIANTS[one.control])
            found += [ServedRun(fit, each.name) for each in both if each.fitted_on == fit.variant]
    return found
