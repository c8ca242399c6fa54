"""The strategies: one file each. `build` makes the one that a section of the recipe names."""

from functools import partial

from longtail.augment.strategies.strategy import Strategy
from longtail.data import Prepared
from longtail.recipe import Recipe, Role, StrategySection
from longtail.workspace import Workspace

JUDGING = ("pairs", "cold_pairs", "screening")
"""Strategies that the discriminator answers."""

__all__ = ["Strategy", "build"]


def build(recipe: Recipe, section: StrategySection, ws: Workspace, prepared: Prepared) -> Strategy:
    """The strategy of one section, for the tuned LLM in the workspace. Raises InputError where the LLM or the catalogue
    cannot carry its questions.
    """
    from longtail.augment.strategies.id_list import IdList
    from longtail.augment.strategies.insertion import Insertion
    from longtail.augment.strategies.item_tokens import Catalogue
    from longtail.augment.strategies.next_item import NextItem
    from longtail.augment.strategies.pairs import Pairs
    from longtail.augment.strategies.ranking import Listwise, Pointwise
    from longtail.augment.strategies.screening import Screening
    from longtail.llm.prompts.building import Prompts

    role = _role(section)
    tuning, items = getattr(recipe, role), prepared.items
    prompts = Prompts.open(ws / f"llm/{role}", items, recipe.llm.items, tuning.history, tuning.context)
    catalogue = Catalogue(items, recipe.llm.items, prompts.tokenizer)
    if section.strategy == "screening":
        return Screening(section, prompts)
    if section.strategy == "ranking":
        hints = _hints(recipe, prepared, section.recommender)
        if section.mode == "pointwise":
            return Pointwise(section, prompts, hints)
        return Listwise(section, prompts, catalogue, hints)
    if section.strategy == "pairs" and section.choose == "top":
        return Pairs(section, prompts, catalogue, _hints(recipe, prepared))
    kinds = {
        "next_item": NextItem,
        "id_list": IdList,
        "insertion": Insertion,
        "pairs": Pairs,
        "cold_pairs": Pairs,
    }
    return kinds[section.strategy](section, prompts, catalogue)


def _role(section: StrategySection) -> Role:
    pointwise = section.strategy == "ranking" and section.mode == "pointwise"
    return "discriminator" if pointwise or section.strategy in JUDGING else "generator"


def _hints(recipe: Recipe, prepared: Prepared, recommender: str = "itemcf") -> partial:
    """A function that gives a recommender as the recipe sets it and the users' histories in a worker: no process but
    those holds them.
    """
    import ray

    from longtail.llm.prompts.hints import build_hints
    from longtail.runtime.cluster import fetch

    section = recipe.itemcf if recommender == "itemcf" else recipe.recommenders.chosen()[recommender]
    task = ray.remote(num_cpus=1)(build_hints)
    return partial(fetch, task.remote(prepared.place, recommender, section, recipe.seed))
