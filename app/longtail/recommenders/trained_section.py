"""The settings that all trained recommenders share."""

from typing import Annotated

from pydantic import Field

from longtail.recipe import LogRange, RecommenderSection
from longtail.recipe.section import Count, Positive, Share
from longtail.recipe.tuning import Space


class TrainedSection(RecommenderSection):
    dim: Positive = 64
    epochs: Positive = 100
    """The maximum; validation can stop the training earlier."""
    batch: Positive = 2048
    lr: Annotated[float, Field(gt=0)] = 1e-3
    l2: Annotated[float, Field(ge=0)] = 1e-4
    validate_every: Count = 5
    """The number of epochs from one validation (NDCG@10 of the validation items, full ranking) to the next; the best
    weights are kept. 0: no validation, all epochs are trained."""
    patience: Positive = 5
    """Training ends after this number of validations in a row without a new best."""
    lr_drops: Count = 0
    """How many times the learning rate is divided by 5 before training ends; `patience` starts again each time."""
    preference_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda of the auxiliary loss over the preferences, if there are any (cold-start augmenters, arXiv 2402.11724)."""


class TextSection(TrainedSection):
    """The settings of a recommender that can read the texts of items."""

    text: bool = False
    """The vector of an item is a free one plus a learnt linear map of its text, as the encoders in the recipe's `text` read
    it. Of `tfidf` these are 64 values, as the generator `small` reads them. Cold items are found by their texts alone."""
    cold_share: Share = 0.05
    """With texts: the share of users' first ten places that cold items take at most."""

    @property
    def reads_texts(self) -> bool:
        return self.text


LEARNING: Space = {"lr": LogRange(log=(3e-4, 1e-2)), "l2": LogRange(log=(1e-6, 1e-2))}
"""The default search space of `longtail tune` for these settings."""
