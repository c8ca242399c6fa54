"""The fits of a recipe, what is evaluated with each, and the places where the results are published."""

from dataclasses import dataclass, replace

from longtail.recipe import Recipe, RecommenderSection
from longtail.recommenders.trained_section import TrainedSection
from longtail.rounds import Round
from longtail.variants import VARIANTS, StandIn, TrainedVariant, controls_of, stand_ins

STAND_IN_SEED = 1000
"""Added to the seed of the recipe for a `StandInFit`."""


@dataclass(frozen=True)
class Run:
    """One fit: a recommender on a variant of the training set, in a round."""

    recommender: str
    variant: TrainedVariant
    round: Round

    @property
    def seed_index(self) -> int:
        return self.round.seed_index

    def section(self, recipe: Recipe) -> RecommenderSection:
        return recipe.recommenders[self.recommender]

    def seed(self, recipe: Recipe) -> int:
        """recipe: that of the round, see `Round.seeded`."""
        return recipe.seed

    @property
    def name(self) -> str:
        return f"{self.variant}/{self.recommender}-{self.seed_index}"

    @property
    def place(self) -> str:
        """Where the fitted recommender is published, relative to the workspace."""
        return self.round.at(f"recommenders/{self.name}")

    @property
    def evaluation(self) -> str:
        """Where its ranks are published, relative to the workspace."""
        return self.round.at(f"evaluation/{self.name}")


@dataclass(frozen=True)
class StandInFit(Run):
    """A fit on the observed log that does the work of the generator in controls.

    Its seed is that of no evaluated fit: a recommender that learns from its own proposals would gain nothing.
    """

    def section(self, recipe: Recipe) -> RecommenderSection:
        return recipe.stand_in(self.recommender)

    def seed(self, recipe: Recipe) -> int:
        return recipe.seed + STAND_IN_SEED

    @property
    def name(self) -> str:
        return f"stand_ins/{self.recommender}"

    @property
    def place(self) -> str:
        return self.round.at(self.name)


def stand_in_fit(recipe: Recipe, round_: Round, recommender: str) -> StandInFit:
    """The fit that stands in for the generator in the controls of a round; one that no seed changes is of the first."""
    trained = isinstance(recipe.stand_in(recommender), TrainedSection)
    return StandInFit(recommender, "observed", round_ if trained else replace(round_, seed_index=0))


def runs(recipe: Recipe, round_: Round) -> list[Run]:
    """All fits that are made in a round."""
    return [fit for fit in fits_in(recipe, round_) if fit.round == round_]


def fits_in(recipe: Recipe, round_: Round) -> list[Run]:
    """The fits that a round uses: its own, and those of the first seed that no seed changes.

    These are neither of a trained model, nor on what an LLM answered and a control copied.
    """
    first = replace(round_, seed_index=0)
    return [
        Run(
            name,
            variant,
            round_ if isinstance(section, TrainedSection) or VARIANTS[variant].sources else first,
        )
        for name, section in recipe.recommenders.items()
        for variant in section.variants or recipe.variants
    ]


@dataclass(frozen=True)
class ServedRun:
    """A fit whose ranking is fused with another list, or that list alone. It needs no training of its own, it is only
    evaluated.

    `variant` is its name in the evaluation. The list is the LLM's, from a strategy. In a control it is replaced by a
    list of the same length (`stand_in`): from the recipe's ItemCF (`best`), from a recommender whose list is judged as
    the LLM's is (`judged`), or from the ranking of the fit (`own`).
    """

    fit: Run
    variant: str
    round: Round
    """The round of the list. The fit may be that of the first seed."""
    proposer: StandInFit | None = None
    """The fit that does the work of the generator, in a control only."""

    @property
    def strategy(self) -> str:
        return VARIANTS[self.variant].sources[0]

    @property
    def stand_in(self) -> StandIn | None:
        return VARIANTS[self.variant].stand_in

    @property
    def alone(self) -> bool:
        """Whether the list is evaluated without the fit."""
        return VARIANTS[self.variant].alone

    @property
    def recommender(self) -> str:
        return self.fit.recommender

    def beside(self, recommender: str) -> bool:
        """Whether it stands among the figures of a recommender. A list alone is the same for all of them, but not one of
        a recommender's own items.
        """
        return recommender == self.recommender or (self.alone and self.strategy != "ranking")

    @property
    def place(self) -> str:
        """Where the fitted recommender is published, relative to the workspace."""
        return self.fit.place

    @property
    def evaluation(self) -> str:
        """Where its ranks are published, relative to the workspace."""
        return self.round.at(f"evaluation/{self.variant}/{self.recommender}-{self.seed_index}")

    @property
    def seed_index(self) -> int:
        return self.round.seed_index


def served_runs(recipe: Recipe, round_: Round) -> list[ServedRun]:
    """The fused rankings of a round, evaluated as they would be served.

    There are none if no strategy of the recipe gives lists, or if `served` is off in the recipe. A list of `ranking`
    has the best items of one recommender, so it is fused only with the fits of that recommender. Every list has its
    control; the list of a recommender that stands in is evaluated if the recipe also has its control for the log.
    """
    if not recipe.served:
        return []
    found = []
    for fit in fits_in(recipe, round_):
        for name in _served_variants(recipe, fit.recommender):
            if VARIANTS[name].fitted_on == fit.variant:
                found.append(ServedRun(fit, name, round_, *_proposers(recipe, round_, name)))
    return found


def _served_variants(recipe: Recipe, recommender: str) -> list[str]:
    """The served variants of a recommender and their controls, in the order of `VARIANTS`."""
    trained = {*(recipe.recommenders[recommender].variants or recipe.variants)}
    ranked = recipe.strategies.get("ranking")
    strategies = {*recipe.strategies} - (
        {"ranking"} if ranked and ranked.recommender != recommender else set()
    )
    served = [
        one.name
        for one in VARIANTS.values()
        if one.kind == "served" and one.sources[0] in strategies and one.fitted_on in trained
    ]
    wanted = {*served, *(control for name in served for control in controls_of(name))}
    known = {*stand_ins(recipe.variants)}
    return [name for name in VARIANTS if name in wanted and {*stand_ins([name])} <= known]


def list_runs(recipe: Recipe, round_: Round) -> list[ServedRun]:
    """The lists of a round alone: each LLM's list that is fused in `served_runs`, and those of its controls, once."""
    first = {run.strategy: run.fit for run in reversed(served_runs(recipe, round_))}
    known = {*stand_ins(recipe.variants)}
    return [
        ServedRun(first[one.sources[0]], one.name, round_, *_proposers(recipe, round_, one.name))
        for one in VARIANTS.values()
        if one.alone and one.sources[0] in first and {*stand_ins([one.name])} <= known
    ]


def _proposers(recipe: Recipe, round_: Round, control: str) -> list[StandInFit]:
    """The fit that does the work of the generator in a control, if there is one."""
    return [stand_in_fit(recipe, round_, name) for name in stand_ins([control])]
