"""Full ranking picks the right items in the right order, whatever the block size."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from longtail.errors import InputError
from longtail.recommenders import recommender
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.popularity import Popularity
from longtail.recommenders.models.popularity import PopularitySection as Section
from longtail.recommenders.scoring.best_k import top_k
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters

ragged = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=8)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 12)),
        elements=st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 1e-30, 0.5, 0.5, 3.0]),
    ),
    st.integers(1, 15),
)
def test_top_k_is_a_stable_sort(scores: np.ndarray, k: int) -> None:
    items, values = top_k(scores, k)
    assert items.shape == values.shape == (len(scores), k)
    for row, (found, value) in enumerate(zip(items, values, strict=True)):
        expected = sorted(range(scores.shape[1]), key=lambda item: (-scores[row, item], item))
        expected = [item for item in expected if scores[row, item] > -np.inf][:k]
        assert found.tolist() == expected + [-1] * (k - len(expected))
        np.testing.assert_array_equal(value[: len(expected)], scores[row, expected])
        assert np.isneginf(value[len(expected) :]).all()


@given(ragged, st.data())
def test_histories_take_and_steps_back(rows: list[list[int]], data: st.DataObject) -> None:
    histories = Histories.of([np.array(row, np.int32) for row in rows])
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    taken = histories.take(np.array(wanted, np.int64))
    back = iter(taken.steps_back)
    for place, row in enumerate(wanted):
        assert taken.items[taken.indptr[place] : taken.indptr[place + 1]].tolist() == rows[row]
        assert [next(back) for _ in rows[row]] == list(range(len(rows[row])))[::-1]


@given(ragged)
def test_the_later_of_two_equal_items_counts(rows: list[list[int]]) -> None:
    histories = Histories.of([np.array(row, np.int32) for row in rows])
    matrix = histories.matrix(np.arange(1, len(histories.items) + 1), 10).toarray()
    start = 1
    for row, items in enumerate(rows):
        expected = np.zeros(10)
        for step, item in enumerate(items):
            expected[item] = start + step
        start += len(items)
        np.testing.assert_array_equal(matrix[row], expected)


def test_blocks_of_users_do_not_change_the_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Popularity("popularity", Section()).fit(clusters())
    whole = model.recommend(np.arange(60), 5)
    users, candidates = np.arange(60), np.random.default_rng(0).integers(0, 24, (60, 7))
    pairs = model.score_pairs(model.seen, users, candidates)
    monkeypatch.setattr(recommender, "SCORES_AT_ONCE", 100)
    np.testing.assert_array_equal(model.recommend(np.arange(60), 5), whole)
    np.testing.assert_array_equal(model.score_pairs(model.seen, users, candidates), pairs)
    scores = model.score(model.seen, users)
    np.testing.assert_array_equal(pairs, np.take_along_axis(scores, candidates, axis=1))


def test_more_items_asked_than_the_catalogue_has() -> None:
    model = Popularity("popularity", Section()).fit(clusters())
    lists, scores = model.recommend(np.arange(60), 30)
    assert lists.shape == scores.shape == (60, 30)
    assert (lists[:, 24:] == -1).all() and np.isneginf(scores[lists == -1]).all()


@pytest.mark.parametrize(("version", "fits"), [("0.1.99", True), ("0.3.0", False), ("1.1.0", False)])
def test_a_model_of_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fits: bool
) -> None:
    monkeypatch.setattr(recommender, "__version__", "0.1.5")
    place, model = Workspace(str(tmp_path)) / "model", Popularity("popularity", Section()).fit(clusters())
    model.save(place)
    (place / "model.json").write_json((place / "model.json").read_json() | {"version": version})
    if fits:
        loaded = Popularity("popularity", Section()).load(place)
        np.testing.assert_array_equal(loaded.recommend(np.arange(9), 3), model.recommend(np.arange(9), 3))
    else:
        with pytest.raises(InputError, match=f"{version}.*0.1.5.*longtail train"):
            Popularity("popularity", Section()).load(place)


def test_unknown_users_and_items_are_named() -> None:
    model = Popularity("popularity", Section()).fit(clusters())
    with pytest.raises(InputError, match="60.*0..59"):
        model.recommend(np.array([0, 60]), 3)
    with pytest.raises(InputError, match="24.*0..23"):
        model.recommend_history([np.array([24])], 3)
    with pytest.raises(InputError, match="k: -1"):
        model.recommend(np.array([0]), -1)
