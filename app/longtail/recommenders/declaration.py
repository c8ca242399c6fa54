"""The declaration of a recommender: one `SPEC` in its module. `longtail.registry` finds it by its name in the recipe."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from longtail.recipe import RecommenderSection
from longtail.recipe.tuning import Space

if TYPE_CHECKING:
    from longtail.recommenders.recommender import Recommender


@dataclass(frozen=True)
class RecommenderSpec:
    """The title in reports, the settings in the recipe, the model, and the properties that other packages need.

    model: the class itself, or its name `package.module.Class`, which is imported when a recommender is built. A model
    that needs PyTorch is given by name, because each process that reads a recipe imports the `SPEC` of its recommenders.
    """

    title: str
    settings: type[RecommenderSection]
    model: "type[Recommender] | str"
    space: Space = field(default_factory=dict)
    """The values that `longtail tune` tries by default. It does not change the size and the epochs in the recipe."""
    keeps_users: bool = False
    """It ranks for a user of its training set by the vector learnt in the fit, not by the history in the request."""
    item_to_item: bool = False
    """It is a `Neighbours` model and its section has `recency`. The strategy `ranking` can rank its best items again."""
