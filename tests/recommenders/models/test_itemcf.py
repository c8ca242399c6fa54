"""ItemCF's similarities are the weighted cosine, its scores the recency-weighted sums over the neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.bm25 import BM25Section
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from tests.recommenders.conftest import clusters, interactions


def test_cosine_is_the_formula() -> None:
    train = clusters()
    ratings = train.matrix.toarray().astype(np.float64)
    norms = np.maximum(np.linalg.norm(ratings, axis=0), 1e-30)
    expected = ratings.T @ ratings / np.outer(norms, norms)
    np.fill_diagonal(expected, 0)
    found = ItemCF("itemcf", Section(neighbours=24)).fit(train).similarity.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("normalisation", "user_weight"), [(0.3, "log"), (0.0, "none"), (1.0, "log")])
def test_tuned_normalisation_is_the_formula(normalisation: float, user_weight: str) -> None:
    train = clusters()
    ratings = train.matrix.toarray().astype(np.float64)
    totals = ratings.sum(axis=1)
    logs = np.log1p(totals, where=totals > 0, out=np.ones_like(totals))
    per_user = 1 / logs if user_weight == "log" else np.ones_like(totals)
    squares = np.maximum((ratings**2).sum(axis=0), 1e-30)
    expected = (ratings * per_user[:, None]).T @ ratings / np.outer(squares, squares) ** normalisation
    np.fill_diagonal(expected, 0)
    section = Section(neighbours=24, normalisation=normalisation, user_weight=user_weight)
    np.testing.assert_allclose(
        ItemCF("itemcf", section).fit(train).similarity.toarray(), expected, rtol=1e-5, atol=1e-9
    )


def test_an_item_of_generated_interactions_only_has_full_similarity() -> None:
    """What the class says of its limit, so that nobody relies on the contrary."""
    observed = [[0, 1], [0, 1], [0, 1]]
    fitted = [
        ItemCF("itemcf", Section()).fit(interactions(observed, 3, [[2], [2], []], weight)).similarity[0, 2]
        for weight in (0.3, 1.0)
    ]
    assert fitted[0] == pytest.approx(fitted[1])


@pytest.mark.parametrize("name", ["itemcf", "bm25"])
def test_at_most_so_many_neighbours_and_never_oneself(name: str) -> None:
    section = {"itemcf": Section, "bm25": BM25Section}[name]
    found = build(name, section(neighbours=3)).fit(clusters()).similarity
    whole = build(name, section(neighbours=24)).fit(clusters()).similarity.toarray()
    assert (np.diff(found.indptr) <= 3).all() and not found.diagonal().any()
    for row, all_of in zip(found.toarray(), whole, strict=True):
        np.testing.assert_allclose(np.sort(row)[::-1][:3], np.sort(all_of)[::-1][:3])


@settings(max_examples=25)
@given(st.integers(0, 21), st.integers(1, 59))
def test_an_interaction_of_vanishing_weight_is_as_good_as_removed(item: int, user: int) -> None:
    """Of an item that has observed ones besides; of a cold item the cosine does not know the scale."""
    observed = [clusters().history(u).tolist() for u in range(60)]
    if item in observed[user]:
        item = (item + 11) % 22  # of the other half, which this user never takes
    nothing: list[list[int]] = [[] for _ in observed]
    more = [[item] if u == user else [] for u in range(60)]
    fitted = [
        ItemCF("itemcf", Section())
        .fit(interactions(observed, 24, generated, weight=1e-12))
        .similarity.toarray()
        for generated in (more, nothing)
    ]
    np.testing.assert_allclose(fitted[0], fitted[1], atol=1e-5)


def test_a_score_is_the_recency_weighted_sum() -> None:
    model = ItemCF("itemcf", Section(recency=0.5, neighbours=24)).fit(clusters())
    items, scores = model.recommend_history([np.array([1, 4, 2])], 24, exclude_seen=False)
    dense = model.similarity.toarray()
    expected = 0.25 * dense[1] + 0.5 * dense[4] + dense[2]
    found = items[0] >= 0
    np.testing.assert_allclose(scores[0, found], expected[items[0, found]], rtol=1e-5)
    assert set(items[0, found]) == set(np.flatnonzero(expected))


def test_affinities_are_the_scores_of_single_items() -> None:
    """Of none too: a batch of answers may hold no proposal at all."""
    model = ItemCF("itemcf", Section(recency=0.5, neighbours=24)).fit(clusters())
    histories = Histories.of([np.array([1, 4, 2]), np.array([3])])
    rows, items = np.array([0, 1, 0]), np.array([5, 1, 7])
    scores = np.maximum(model.score(histories, None), 0)
    np.testing.assert_allclose(model.affinities(histories, rows, items), scores[rows, items], rtol=1e-5)
    assert model.affinities(histories, rows[:0], items[:0]).shape == (0,)
