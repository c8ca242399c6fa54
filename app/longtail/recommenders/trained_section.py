"""The settings that all trained recommenders share."""

from typing import Annotated

from pydantic import Field

from longtail.recipe import LogRange, RecommenderSection
from longtail.recipe.section import Count, Positive
from longtail.recipe.tuning import Space


class TrainedSection(RecommenderSection):
    dim: Positive = 64
    epochs: Positive = 100
    """At most so many; fewer where validation stops the training."""
    batch: Positive = 2048
    lr: Annotated[float, Field(gt=0)] = 1e-3
    l2: Annotated[float, Field(ge=0)] = 1e-4
    validate_every: Count = 5
    """NDCG@10 of the validation items by full ranking after every so many epochs; the best weights are kept. 0: never,
    all epochs are trained."""
    patience: Positive = 5
    """Training ends after so many validations in a row without a better one."""
    lr_drops: Count = 0
    """Before it ends, the learning rate falls to a fifth so often, each time with as much patience again."""
    preference_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda of the auxiliary loss over preferences (cold-start augmenters, 2402.11724), where there are any."""


LEARNING: Space = {"lr": LogRange(log=(3e-4, 1e-2)), "l2": LogRange(log=(1e-6, 1e-2))}
"""What of them is worth a search."""
