"""Full ranking by dot products: speed compared with implicit's top-k, and memory on a large data set."""

import json
import sys
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from jobs.benchmarks.memory import in_fresh_process, peak_gib
from jobs.benchmarks.timing import paired
from longtail.evaluation.ranks import rank_targets
from longtail.evaluation.targets import USERS_AT_ONCE
from longtail.ranking_metrics import per_user
from longtail.recipe import RecommenderSection
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.scoring.candidate_items import Candidates
from longtail.recommenders.scoring.dot_products import DotRecommender

KS = [3, 5, 10, 20, 50]
DIMENSIONS = 64
HISTORY = 12
NOISE = 1.5
"""The scale of the noise. A user's query is the vector of the target plus noise, so the target is often in the list."""
LARGE_ITEMS, LARGE_USERS = 500_000, 100_000


def measure(quick: bool = False) -> dict[str, float]:
    """Speed and memory of full ranking.

    `ranking_over_implicit`: how many times faster than implicit's top-k with NumPy metrics. Both use all cores and
    leave out seen items, among 50,000 items. `ranking_rss_gib`: the peak memory of a process that ranks 500,000 items
    for 100,000 users; with `quick` for 2,048 users, which is one block.
    """
    store = Store.of(1024 if quick else 4096, 50_000)
    if not np.allclose(store.ours(), store.implicits(), atol=1e-3):
        raise RuntimeError("the two ways of ranking give different metrics")
    ours, theirs = paired(store.ours, store.implicits, rounds=3 if quick else 5)
    large_users = USERS_AT_ONCE if quick else LARGE_USERS
    rss = in_fresh_process("jobs.benchmarks.ranking", large_users, LARGE_ITEMS)
    return {"ranking_over_implicit": theirs / ours, "ranking_rss_gib": rss}


class Vectors(DotRecommender):
    """A recommender with given vectors, without a fit."""

    users: np.ndarray

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        self.candidates = Candidates(np.ones(train.n_items, bool))

    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        return self.users[users]

    def arrays(self) -> dict[str, np.ndarray]:
        return {"users": self.users, "items": self.items}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.users, self.items = arrays["users"], arrays["items"]


@dataclass(frozen=True)
class Store:
    """Users with random histories, and one target for each: targets int [users]."""

    model: Vectors
    targets: np.ndarray

    @classmethod
    def of(cls, users: int, items: int) -> "Store":
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((items, DIMENSIONS), np.float32)
        targets = rng.integers(0, items, users)
        queries = rng.standard_normal((users, DIMENSIONS), np.float32)
        queries *= NOISE
        queries += vectors[targets]
        train = Interactions(
            indptr=np.arange(users + 1) * HISTORY,
            items=rng.integers(0, items, users * HISTORY).astype(np.int32),
            weights=np.ones(users * HISTORY, np.float32),
            observed=np.full(users, HISTORY),
            n_items=items,
        )
        model = Vectors("vectors", RecommenderSection()).fit(train)
        model.restore({"users": queries, "items": vectors})
        return cls(model, targets)

    def ours(self) -> np.ndarray:
        """The mean of every metric at KS, with users in blocks as in the stage evaluate."""
        users = np.arange(len(self.targets))
        lists = (
            (block, self.model.recommend(block, max(KS))[0])
            for block in np.split(users, range(USERS_AT_ONCE, len(users), USERS_AT_ONCE))
        )
        return self._metrics(
            [rank_targets(own, block - block[0], self.targets[block]) for block, own in lists]
        )

    def implicits(self) -> np.ndarray:
        """The same with implicit, which ranks all users at once in its own threads."""
        from implicit.cpu.topk import topk

        seen = self.model.seen
        shape = (len(seen), self.model.n_items)
        known = csr_matrix((np.ones(len(seen.items), np.float32), seen.items, seen.indptr), shape=shape)
        lists, _ = topk(self.model.items, self.model.users, max(KS), filter_query_items=known, num_threads=0)
        return self._metrics([rank_targets(lists, np.arange(len(lists)), self.targets)])

    def _metrics(self, ranks: list[np.ndarray]) -> np.ndarray:
        _, values = per_user(np.arange(len(self.targets)), np.concatenate(ranks), KS)
        return values.mean(axis=0)


if __name__ == "__main__":
    Store.of(int(sys.argv[1]), int(sys.argv[2])).ours()
    print(json.dumps(peak_gib()))
