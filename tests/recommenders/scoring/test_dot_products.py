"""Ranking in tiles equals sorting whole rows of dot products: ties, masks, NaN and infinities included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.recipe import RecommenderSection
from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring import dot_products as dot
from longtail.recommenders.scoring.best_k import top_k
from longtail.recommenders.scoring.candidate_items import Candidates
from longtail.recommenders.scoring.dot_products import DotRecommender, best_products
from tests.recommenders.conftest import clusters, interactions

# Small whole numbers: products are exact in float32 whatever the order of summation, and ties are many.
NUMBERS = [-2.0, -1.0, 0.0, 1.0, 2.0, np.nan, np.inf]


class Vectors(DotRecommender):
    """Fixed vectors in place of trained ones."""

    def __init__(self, users: np.ndarray, items: np.ndarray, warm: np.ndarray) -> None:
        super().__init__("vectors", RecommenderSection())
        self.users, self.items, self.candidates = users, items, Candidates(warm)

    def learn(self, train, preferences, validation) -> None: ...

    def queries(self, histories, users):
        return self.users[users] if users is not None else np.ones((len(histories), 2), np.float32)

    def arrays(self):
        return {}

    def restore(self, arrays) -> None: ...


@st.composite
def tables(draw):
    rows, n, d = draw(st.integers(0, 9)), draw(st.integers(1, 30)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chances = np.array([1, 1, 1, 1, 1, 0.1, 0.1]) / 5.2
    queries, items = (rng.choice(NUMBERS, (many, d), p=chances).astype(np.float32) for many in (rows, n))
    seen = Histories.of([rng.integers(0, n, rng.integers(0, 6)) for _ in range(rows)])
    return queries, items, seen, rng.random(n) < 0.2, rng.random(n) < 0.3, draw(st.integers(0, 40))


@given(tables(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 70))
@pytest.mark.filterwarnings("ignore:invalid value encountered in matmul")
def test_tiles_equal_whole_rows(table, threads, tile_users, tile_scores) -> None:
    queries, items, seen, cold, texts, k = table
    candidates = Candidates(~cold & ~texts, np.flatnonzero(~cold & texts).astype(np.int32), 1.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dot, "TILE_USERS", tile_users)
        patch.setattr(dot, "TILE_SCORES", max(tile_users, tile_scores))
        patch.setattr(dot, "_blas_threads", lambda: threads)
        found, values = best_products(queries, items, k, seen, candidates)
    scores = queries @ items.T
    scores[:, texts & ~cold] += np.float32(1.5)
    scores[:, cold] = -np.inf
    scores[seen.rows, seen.items] = -np.inf
    expected, expected_values = top_k(scores, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(values, expected_values)


def test_real_numbers_over_many_tiles_equal_whole_rows() -> None:
    rng = np.random.default_rng(0)
    queries, items = (rng.standard_normal((many, 16), np.float32) for many in (300, 5000))
    seen = Histories.of([rng.choice(5000, 30) for _ in range(300)])
    cold = rng.random(5000) < 0.1
    found, values = best_products(queries, items, 50, seen, Candidates(~cold))
    scores = queries @ items.T
    scores[:, cold] = -np.inf
    scores[seen.rows, seen.items] = -np.inf
    expected, expected_values = top_k(scores, 50)
    # Rounding depends on the shape of a product: neighbours closer than that may change places.
    np.testing.assert_allclose(values, expected_values, rtol=1e-5)
    assert (found == expected).mean() > 0.999
    np.testing.assert_allclose(np.take_along_axis(scores, found, axis=1), values, rtol=1e-5)


@pytest.fixture
def model() -> Vectors:
    rng = np.random.default_rng(2)
    train = clusters()
    users, items = (rng.integers(-3, 4, (n, 2)).astype(np.float32) for n in (train.n_users, train.n_items))
    return Vectors(users, items, rng.random(train.n_items) < 0.9).fit(train)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommend_equals_the_dense_way_of_every_other_recommender(model, exclude_seen, monkeypatch) -> None:
    users = np.array([3, 0, 59, 3, 1])
    tiled = model.recommend(users, 7, exclude_seen=exclude_seen)
    assert (tiled[0][1] == -1).all(), "user 0 has no history"
    monkeypatch.setattr(DotRecommender, "_top", Recommender._top)
    np.testing.assert_array_equal(tiled, model.recommend(users, 7, exclude_seen=exclude_seen))


def test_ad_hoc_histories_are_asked_and_masked(model) -> None:
    lists, _ = model.recommend_history([np.array([3, 4], np.int32), np.zeros(0, np.int32)], 24)
    candidates = set(np.flatnonzero(model.candidates.warm)) - {3, 4}
    assert set(lists[0][lists[0] >= 0]) == candidates
    assert (lists[1] == -1).all()


def test_pairs_have_the_scores_of_whole_rows(model, monkeypatch) -> None:
    users = np.array([5, 0, 9])
    asked = model.seen.take(users)
    candidates = np.random.default_rng(1).integers(0, model.n_items, (3, 6))
    expected = np.take_along_axis(model.score(asked, users), candidates, axis=1)
    np.testing.assert_array_equal(model.score_pairs(asked, users, candidates), expected)
    monkeypatch.setattr(DotRecommender, "rows_at_once", 2)
    np.testing.assert_array_equal(Recommender.score_pairs(model, asked, users, candidates), expected)


def test_more_asked_than_there_is() -> None:
    vectors = np.ones((2, 2), np.float32)
    model = Vectors(vectors, vectors, np.ones(2, bool)).fit(interactions([[0], [1]], 2))
    lists, scores = model.recommend(np.array([0, 1]), 5)
    assert lists.tolist() == [[1, -1, -1, -1, -1], [0, -1, -1, -1, -1]]
    assert np.isneginf(scores[:, 1:]).all()
