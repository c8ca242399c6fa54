"""The recommenders and strategies that a recipe can name: one line here adds one, or an entry point of another package.

Each module declares one `SPEC`: its settings, its code and what the rest needs to know of it. It is imported when a recipe
names it, for some need PyTorch. An entry point of the group `longtail.recommenders` or `longtail.strategies` names such a
module of an installed package; `docs/extending.md` shows both.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

RECOMMENDERS = {
    "popularity": "longtail.recommenders.models.popularity",
    "itemcf": "longtail.recommenders.models.itemcf",
    "bm25": "longtail.recommenders.models.bm25",
    "swing": "longtail.recommenders.models.swing",
    "bpr": "longtail.recommenders.models.bpr",
    "neumf": "longtail.recommenders.models.neumf",
    "lightgcn": "longtail.recommenders.models.lightgcn",
    "sgl": "longtail.recommenders.models.sgl",
    "mixgcf": "longtail.recommenders.models.mixgcf",
    "sasrec": "longtail.recommenders.models.sasrec",
}
STRATEGIES = {
    "next_item": "longtail.augment.strategies.next_item",
    "id_list": "longtail.augment.strategies.id_list",
    "insertion": "longtail.augment.strategies.insertion",
    "pairs": "longtail.augment.strategies.pairs",
    "cold_pairs": "longtail.augment.strategies.cold_pairs",
    "ranking": "longtail.augment.strategies.ranking",
    "screening": "longtail.augment.strategies.screening",
}


@cache
def recommenders() -> dict[str, str]:
    """Module by name, our own first."""
    return RECOMMENDERS | _installed("longtail.recommenders")


@cache
def strategies() -> dict[str, str]:
    """Module by name, our own first."""
    return STRATEGIES | _installed("longtail.strategies")


def recommender_spec(name: str) -> Any:
    """The `RecommenderSpec` of that name. Raises KeyError for a name that is not in `recommenders()`."""
    return import_module(recommenders()[name]).SPEC


def strategy_spec(name: str) -> Any:
    """The `StrategySpec` of that name. Raises KeyError for a name that is not in `strategies()`."""
    return import_module(strategies()[name]).SPEC


def _installed(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}
