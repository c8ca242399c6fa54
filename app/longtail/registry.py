"""The recommenders and strategies that a recipe can name. One line here adds one; so does an entry point of another package.

Each module declares one `SPEC`: its settings, its code, and the properties that other modules use. It is imported only when
a recipe names it, because some need PyTorch. An entry point of the group `longtail.recommenders` or `longtail.strategies`
names such a module of an installed package. `docs/extending.md` shows both ways.
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
    "ease": "longtail.recommenders.models.ease",
    "rp3beta": "longtail.recommenders.models.rp3beta",
    "bpr": "longtail.recommenders.models.bpr",
    "neumf": "longtail.recommenders.models.neumf",
    "lightgcn": "longtail.recommenders.models.lightgcn",
    "sgl": "longtail.recommenders.models.sgl",
    "mixgcf": "longtail.recommenders.models.mixgcf",
    "sasrec": "longtail.recommenders.models.sasrec",
    "text_order": "longtail.recommenders.models.text_order",
    "content": "longtail.recommenders.models.content",
    "mapped": "longtail.recommenders.models.mapped",
}
STRATEGIES = {
    "next_item": "longtail.augment.strategies.next_item",
    "id_list": "longtail.augment.strategies.id_list",
    "insertion": "longtail.augment.strategies.insertion",
    "pairs": "longtail.augment.strategies.pairs",
    "cold_pairs": "longtail.augment.strategies.cold_pairs",
    "cold_users": "longtail.augment.strategies.cold_users",
    "ranking": "longtail.augment.strategies.ranking",
    "screening": "longtail.augment.strategies.screening",
}


@cache
def recommenders() -> dict[str, str]:
    """From the name of a recommender to its module; the built-in ones first."""
    return RECOMMENDERS | _installed("longtail.recommenders")


@cache
def strategies() -> dict[str, str]:
    """From the name of a strategy to its module; the built-in ones first."""
    return STRATEGIES | _installed("longtail.strategies")


def recommender_spec(name: str) -> Any:
    """The `RecommenderSpec` of the recommender `name`. Raises KeyError if it is not in `recommenders()`."""
    return import_module(recommenders()[name]).SPEC


def strategy_spec(name: str) -> Any:
    """The `StrategySpec` of the strategy `name`. Raises KeyError if it is not in `strategies()`."""
    return import_module(strategies()[name]).SPEC


def _installed(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}
