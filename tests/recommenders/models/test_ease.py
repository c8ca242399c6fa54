"""EASE's weights are those of the ridge regression of each item on all others, and what it cannot hold it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.recommenders import build
from longtail.recommenders.interactions import Histories, Interactions
from longtail.recommenders.models import ease
from longtail.recommenders.models.ease import EASE, strongest
from longtail.recommenders.models.ease import EASESection as Section
from tests.recommenders.conftest import clusters, interactions


def regressed(train: Interactions, l2: float) -> np.ndarray:
    """The twin: column i has the ridge regression of item i on all other items, each solved by itself."""
    ratings = train.matrix.toarray().astype(np.float64)
    n_items = ratings.shape[1]
    found = np.zeros((n_items, n_items))
    for item in range(n_items):
        others = np.delete(np.arange(n_items), item)
        of_others = ratings[:, others]
        gram = of_others.T @ of_others + l2 * np.eye(n_items - 1)
        found[others, item] = np.linalg.solve(gram, of_others.T @ ratings[:, item])
    return found


@pytest.mark.parametrize("l2", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("scores_at_once", [1, 100, 2**23])
def test_the_weights_are_ridge_regressions(
    l2: float, scores_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the blocks; interaction weights of .3 and items that nobody took are among them."""
    monkeypatch.setattr(ease, "SCORES_AT_ONCE", scores_at_once)
    train = clusters()
    model = EASE("ease", Section(l2=l2, neighbours=24)).fit(train)
    expected = regressed(train, l2)
    assert l2 > 1 or (expected < -1e-3).any(), "so that signs are tested"
    np.testing.assert_allclose(model.similarity.toarray(), expected, rtol=1e-5, atol=1e-7)


def test_two_items_by_hand() -> None:
    """Three users took item 0, two of them item 1: b_01 = 2 / (3 + 1), b_10 = 2 / (2 + 1)."""
    train = interactions([[0, 1], [0, 1], [0]], 3)
    found = EASE("ease", Section(l2=1.0)).fit(train).similarity.toarray()
    np.testing.assert_allclose(found, [[0, 1 / 2, 0], [2 / 3, 0, 0], [0, 0, 0]], rtol=1e-6)


def test_a_score_is_a_row_of_x_times_b() -> None:
    """The negative weights count in the sum; an item whose sum is not above 0 is no candidate."""
    train = clusters()
    model = EASE("ease", Section(l2=2.0, neighbours=24)).fit(train)
    weights, history = regressed(train, 2.0), np.array([1, 4, 2, 13])
    expected = weights[history].sum(axis=0)
    scores = model.score(Histories.of([history]), None)[0]
    there = np.isfinite(scores)
    assert (there == (expected > 0)).all() and there.any() and not there.all()
    np.testing.assert_allclose(scores[there], expected[there], rtol=1e-4)
    items, best = model.recommend_history([history], 24, exclude_seen=False)
    np.testing.assert_allclose(best[0][: there.sum()], np.sort(expected)[::-1][: there.sum()], rtol=1e-4)
    assert (items[0][there.sum() :] == -1).all()


@settings(max_examples=40)
@given(st.data())
def test_the_strongest_weights_are_kept(data: st.DataObject) -> None:
    rows, width, k = (data.draw(st.integers(1, top)) for top in (4, 9, 12))
    cells = data.draw(st.lists(st.integers(-5, 5), min_size=rows * width, max_size=rows * width))
    weights = np.array(cells, float).reshape(rows, width)
    columns, values = strongest(weights, k)
    k = min(k, width)
    assert columns.shape == values.shape == (rows, k)
    for own, which, best in zip(weights, columns, values, strict=True):
        assert len(set(which.tolist())) == k
        np.testing.assert_array_equal(own[which], best)
        assert (np.diff(best) <= 0).all()
        assert np.sort(np.abs(best)).tolist() == np.sort(np.abs(own))[len(own) - k :].tolist()


def test_fewer_neighbours_are_the_strongest_of_all() -> None:
    few, all_of = (
        EASE("ease", Section(l2=2.0, neighbours=k)).fit(clusters()).similarity.toarray() for k in (5, 24)
    )
    for own, whole in zip(few, all_of, strict=True):
        assert (np.count_nonzero(own) == 5) == (np.count_nonzero(whole) > 5)
        np.testing.assert_array_equal(own[own != 0], whole[own != 0])
        kept = np.abs(whole[own != 0]).min(initial=np.inf)
        assert np.abs(whole[own == 0]).max(initial=0) <= kept


def test_negative_weights_are_kept_but_are_no_similar_items() -> None:
    model = EASE("ease", Section(l2=2.0, neighbours=24)).fit(clusters())
    assert (model.similarity.data < 0).any()
    _, scores = model.similar_items(np.arange(22), 24)
    assert (scores[np.isfinite(scores)] > 0).all()


def test_what_does_not_fit_into_memory_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """22 of the 24 items have interactions: 22 x 22 x 8 bytes."""
    monkeypatch.setattr(ease, "memory_left", lambda available: 22 * 22 * 8)
    build("ease", Section()).fit(clusters())
    monkeypatch.setattr(ease, "memory_left", lambda available: 22 * 22 * 8 - 1)
    monkeypatch.setattr(ease, "inverse_gram", lambda *given: pytest.fail("work was done"))
    with pytest.raises(InputError, match=r"22 x 22 items.* GiB of memory; .* GiB are free.*k_core.*rp3beta"):
        build("ease", Section()).fit(clusters())


def test_an_l2_that_tells_nothing_apart_is_an_input_error() -> None:
    """Two items of the same users make X^T X singular, and l2 is lost beside it."""
    train = interactions([[0, 1]] * 9, 2)
    with pytest.raises(InputError, match="Set a higher l2"):
        build("ease", Section(l2=1e-300)).fit(train)


def test_an_empty_training_set() -> None:
    model = build("ease", Section()).fit(interactions([[], []], 4))
    assert (model.recommend(np.arange(2), 3)[0] == -1).all()
