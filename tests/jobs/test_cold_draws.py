"""Draws of cold items: what is averaged, what t is of."""

import numpy as np
import pandas as pd
import pyarrow.fs as pafs
import pytest
from scipy.stats import ttest_rel

from jobs.cold_draws import cold_ranks, compared, figures_of
from longtail.recipe import RecommenderSection
from longtail.recommenders.recommender import Recommender
from longtail.workspace.place import Place
from tests.evaluation.cold_store import write_cold_store
from tests.recommenders.conftest import interactions


def test_warm_items_are_averaged_by_their_users() -> None:
    rows = [
        ("itemcf", "observed", slice_, metric, k, value, n)
        for metric, k in (("recall", 10), ("recall", 50), ("ndcg", 10))
        for slice_, value, n in (
            ("all", 0.9, 60),
            ("items:head", 0.5, 30),
            ("items:tail", 0.2, 10),
            ("items:cold", 0.1, 20),
        )
    ]
    rows.append(("itemcf", "generated", "items:cold", "recall", 10, 0.7, 20))
    metrics = pd.DataFrame(rows, columns=["recommender", "variant", "slice", "metric", "k", "value", "n"])
    found = figures_of(metrics)
    assert found["itemcf", "warm", "recall@10"] == pytest.approx((0.5 * 30 + 0.2 * 10) / 40)
    assert found["itemcf", "cold", "recall@10"] == 0.1


def test_t_is_paired_over_draws() -> None:
    rng = np.random.default_rng(0)
    base, more = rng.random(6), rng.random(6)
    key = ("itemcf", "cold", "recall@10")
    found = {
        (draw, name): {key: float(own[draw])} for draw in range(6) for name, own in (("a", base), ("b", more))
    }
    reference, other = compared(found, "a")
    assert (reference.over, reference.t) == (0, 0)
    assert other.value == pytest.approx(more.mean()) and other.t == pytest.approx(
        ttest_rel(more, base).statistic
    )


class Known(Recommender):
    """Its scores are given; ties are common, and some items are no candidates."""

    def learn(self, train, preferences, validation) -> None:
        self.scores = (
            np.random.default_rng(4).integers(0, 5, (len(self.seen), self.n_items)).astype(np.float32)
        )
        self.scores[:, -1] = -np.inf

    def score(self, histories, users):
        return self.scores[users].copy()

    def arrays(self):
        return {}

    def restore(self, arrays):
        raise NotImplementedError


def test_cold_items_are_ranked_among_cold_items(tmp_path) -> None:
    """Compared with a loop. Warm items stand in no cold item's way."""
    train, later = [[0, 1], [2], [3, 0], [1, 2]], [[6], [3], [8, 7, 5], [4]]
    data = Place(pafs.LocalFileSystem(), str(tmp_path))
    write_cold_store(data, train, later, np.arange(10) >= 5)
    model = Known("known", RecommenderSection()).fit(interactions(train, 10))
    users, ranks = cold_ranks(model, data)
    expected = []
    for user, own in enumerate(later):
        for item in own:
            if item >= 5:
                scores = model.scores[user]
                better = [other for other in range(5, 10) if other != item and scores[other] >= scores[item]]
                expected.append((user, 1 + len(better)))
    assert [*zip(users.tolist(), ranks.tolist(), strict=True)] == expected and len(expected) == 4
