"""Markov: what users took right after an item. The latest item of a history says what comes next."""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix, diags

from longtail.recipe import RecommenderSection
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.recommender import Recommender


class MarkovSection(RecommenderSection):
    damping: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Steps to an item are divided by (its weight in the log)^damping. Higher lets rare items through."""


class Markov(Recommender):
    """The score of item i after item j: the summed weights of the steps from j to i, damped."""

    section: MarkovSection
    steps: csr_matrix
    """float32 [items, items], row j the steps from j."""

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        """A generated item stands after the observed ones of its user: each is a step from the latest of these."""
        lengths = np.diff(train.indptr)
        first = np.repeat(train.indptr[:-1], lengths)
        generated_from = first + np.repeat(train.observed, lengths)
        before = np.minimum(np.arange(len(train.items)), generated_from) - 1
        known = before >= first
        cells = (train.items[before[known]], train.items[known])
        steps = csr_matrix((train.weights[known], cells), shape=(train.n_items, train.n_items))
        taken = np.bincount(train.items, train.weights, minlength=train.n_items)
        damped = np.where(taken > 0, taken, 1) ** -self.section.damping
        self.steps = csr_matrix(steps @ diags(damped), dtype=np.float32)

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        latest = histories.matrix(histories.steps_back == 0, self.n_items)
        scores = (latest @ self.steps).toarray()
        scores[scores <= 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self.steps, name) for name in ("data", "indices", "indptr")}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        self.steps = csr_matrix(parts, shape=(self.n_items, self.n_items))


SPEC = RecommenderSpec(
    title="Markov", settings=MarkovSection, model=Markov, space={"damping": [0.0, 0.25, 0.5, 0.75]}
)
