"""The fits of a recipe, what is evaluated with each, and the places where the results are published."""

from dataclasses import dataclass
from itertools import product

from longtail.recipe import Recipe
from longtail.recommenders.trained_section import TrainedSection
from longtail.variants import VARIANTS, StandIn, TrainedVariant


@dataclass(frozen=True)
class Run:
    """One fit: a recommender on a variant of the training set. `seed_index` counts its seeds from 0."""

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
    """All fits of the recipe. Trained models are fitted with `evaluation.seeds` different seeds, the others once."""
    return [
        Run(name, variant, seed_index)
        for name, section in recipe.recommenders.items()
        for variant in section.variants or recipe.variants
        for seed_index in range(recipe.evaluation.seeds if isinstance(section, TrainedSection) else 1)
    ]


@dataclass(frozen=True)
class ServedRun:
    """A fit whose ranking is fused with another list. It needs no training of its own, it is only evaluated.

    `variant` is its name in the evaluation. The list is the LLM's, from a strategy. In a control it is replaced by a
    list of the same length (`stand_in`): from the recipe's ItemCF (`best`), or from the ranking of the fit (`own`).
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
    """The fused rankings of the recipe, evaluated as they would be served.

    There are none if no strategy of the recipe gives lists, or if `served` is off in the recipe. A list of `ranking`
    has the best items of one recommender, so it is fused only with the fits of that recommender.
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
