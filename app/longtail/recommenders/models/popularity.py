"""Popularity: the score of an item is the sum of its interaction weights. It also ranks for users without history."""

import numpy as np

from longtail.recipe import RecommenderSection
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.recommender import Recommender


class PopularitySection(RecommenderSection):
    pass


class Popularity(Recommender):
    popularity: np.ndarray
    """float32 [n_items]."""

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        self.popularity = np.asarray(train.matrix.sum(axis=0), np.float32).ravel()

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        scores = np.where(self.popularity > 0, self.popularity, -np.inf).astype(np.float32)
        return np.repeat(scores[None], len(histories), axis=0)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"popularity": self.popularity}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.popularity = arrays["popularity"]


SPEC = RecommenderSpec(title="Popularity", settings=PopularitySection, model=Popularity)
