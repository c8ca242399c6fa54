"""Which recommenders a recipe asks for, and where each run of one lies."""

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
