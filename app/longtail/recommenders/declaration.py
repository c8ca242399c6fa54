"""What a recommender declares of itself: one `SPEC` in its module, which `longtail.registry` finds by the recipe's name."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from longtail.recipe import RecommenderSection
from longtail.recipe.tuning import Space

if TYPE_CHECKING:
    from longtail.recommenders.recommender import Recommender


@dataclass(frozen=True)
class RecommenderSpec:
    """Its title in reports, its settings in the recipe, its model, and what the rest needs to know of it.

    model: the class, or `package.module.Class`, which is imported when one is built. What needs PyTorch is named so,
    for every process that reads a recipe imports the modules of its recommenders.
    """

    title: str
    settings: type[RecommenderSection]
    model: "type[Recommender] | str"
    space: Space = field(default_factory=dict)
    """The values that `longtail tune` tries by default. The size and the length of a training stay the recipe's."""
    keeps_users: bool = False
    """It ranks for a user of its training set by a vector that the fit left, not from the history that is asked with."""
    item_to_item: bool = False
    """It is a `Neighbours` model, and its section has `recency`: the strategy `ranking` may ask about its best items."""
