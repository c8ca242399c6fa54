"""The strategies: one file each. `build` makes the one that a section of the recipe names."""

from typing import Any

from app.augment.strategies.base import Strategy
from app.data import Prepared
from app.recipe import Recipe, StrategySection
from app.workspace import Workspace

ROLES = {"pairs": "discriminator", "cold_pairs": "discriminator", "screening": "discriminator"}
"""Who answers, where it is not the generator."""

__all__ = ["Strategy", "build"]


def build(recipe: Recipe, section: StrategySection, ws: Workspace, prepared: Prepared) -> Strategy:
    """The strategy of one section, for the tuned LLM in the workspace."""
    from app.augment.strategies.catalogue import Catalogue
    from app.augment.strategies.next_item import NextItem
    from app.llm.prompts import Prompts

    strategies: dict[str, Any] = {"next_item": NextItem}
    role = ROLES.get(section.strategy, "generator")
    tuning = getattr(recipe, role)
    prompts = Prompts.open(
        ws / f"llm/{role}", prepared.items, recipe.llm.items, tuning.history, tuning.context
    )
    return strategies[section.strategy](
        section, prompts, Catalogue(prepared.items, recipe.llm.items, prompts.tokenizer)
    )
