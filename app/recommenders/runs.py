"""Which recommenders a recipe asks for, on what they are evaluated, and where each run of one lies."""

from dataclasses import dataclass

from app.recipe import Recipe, Trained, Variant


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


RANKING = ("next_item", "ranking")
"""The strategies that give every user a list, the one that is rather used first."""


@dataclass(frozen=True)
class ServedRun:
    """A fit whose ranking is fused with another list: nothing is trained for it, it is only evaluated.

    `variant` is what the evaluation calls it; the list is the LLM's, of a strategy, or with `control` as many items of the
    recipe's own ItemCF.
    """

    fit: Run
    variant: str
    strategy: str
    control: bool = False

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
    """What is evaluated as it would be served; none where no LLM ranks for users or the recipe does not want it."""
    ranking = [name for name in RANKING if name in recipe.strategies]
    if not (recipe.evaluation.served and recipe.augmented and ranking):
        return []
    found = []
    for fit in runs(recipe):
        if fit.variant == "observed":
            names = {"next_item": "served", "ranking": "served_ranking"}
            found += [ServedRun(fit, names[strategy], strategy) for strategy in ranking]
            found.append(ServedRun(fit, "served_itemcf", ranking[0], control=True))
        elif fit.variant == "discriminated":
            found.append(ServedRun(fit, "served_discriminated", "next_item"))
    return found
