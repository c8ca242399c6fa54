"""What holds for every recommender."""

import numpy as np
import pytest

from app.errors import InputError
from app.recipe import Popularity
from app.recommenders import build, load
from app.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, clusters

KINDS = {"model.json", "model.safetensors", "learning_curve.parquet", "neighbours.parquet"}
"""What a recommender leaves: JSON, safetensors and Parquet, never a pickle."""


def test_a_saved_model_answers_as_the_fitted_one(name: str, tmp_path) -> None:
    train, place = clusters(), Workspace(str(tmp_path)) / "model"
    model = build(name, SECTIONS[name], seed=3).fit(train)
    model.save(place)
    assert {file.name for file in place.files()} <= KINDS
    again = load(place)
    users, histories = np.arange(train.n_users), [np.array([1, 2], np.int32), np.array([], np.int32)]
    np.testing.assert_array_equal(again.recommend(users, 7), model.recommend(users, 7))
    np.testing.assert_array_equal(
        again.recommend_history(histories, 7), model.recommend_history(histories, 7)
    )


def test_fitting_is_deterministic_by_seed(name: str) -> None:
    lists = [
        build(name, SECTIONS[name], seed=3).fit(clusters()).recommend(np.arange(60), 5) for _ in range(2)
    ]
    np.testing.assert_array_equal(lists[0], lists[1])


def test_seen_items_are_left_out_and_generated_ones_are_not_seen(name: str) -> None:
    train = clusters()
    model = build(name, SECTIONS[name]).fit(train)
    users = np.arange(1, train.n_users)
    items, _ = model.recommend(users, train.n_items)
    offered = [set(row[row >= 0].tolist()) for row in items]
    seen = [set(train.history(user).tolist()) for user in users]
    assert not any(row & own for row, own in zip(offered, seen, strict=True))
    generated = [
        set(train.items[train.indptr[u] + train.observed[u] : train.indptr[u + 1]].tolist()) for u in users
    ]
    assert all(more <= row for row, more in zip(offered, generated, strict=True))
    everything, _ = model.recommend(users, train.n_items, exclude_seen=False)
    assert any(set(row.tolist()) & own for row, own in zip(everything, seen, strict=True))


def test_lists_longer_than_the_catalogue_end_with_minus_one(name: str) -> None:
    train = clusters()
    items, scores = build(name, SECTIONS[name]).fit(train).recommend(np.array([1, 2]), train.n_items + 5)
    assert items.shape == (2, train.n_items + 5) and items.dtype == np.int32 and scores.dtype == np.float32
    for row, score in zip(items, scores, strict=True):
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found) and (row[len(found) :] == -1).all()
        assert (np.diff(score[: len(found)]) <= 0).all()
        assert not {train.n_items - 1, train.n_items - 2} & set(found.tolist()), "nobody ever took these"


def test_without_a_history_only_popularity_answers(name: str) -> None:
    model = build(name, SECTIONS[name]).fit(clusters())
    known, _ = model.recommend(np.array([0]), 5)
    ad_hoc, _ = model.recommend_history([np.array([], np.int32)], 5)
    assert ((known if name == "popularity" else -1 - known) >= 0).all()
    np.testing.assert_array_equal(known, ad_hoc)


def test_asking_nobody_is_no_error(name: str) -> None:
    items, scores = build(name, SECTIONS[name]).fit(clusters()).recommend(np.array([], np.int64), 4)
    assert items.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("name", ["itemcf", "swing", "bpr", "lightgcn"])
def test_tastes_are_learnt_and_folded_in(name: str) -> None:
    """A user of one half of the catalogue, known or ad hoc, is offered that half."""
    section = SECTIONS[name]
    if name in ("bpr", "lightgcn"):
        section = section.model_copy(update={"epochs": 60})
    train = clusters()
    model = build(name, section, seed=1).fit(train)
    known, _ = model.recommend(np.arange(1, 60), 4)
    assert ((known >= 11) == (np.arange(1, 60) % 2 == 1)[:, None])[known >= 0].mean() > 0.95
    ad_hoc, _ = model.recommend_history([np.array([1, 2, 3]), np.array([12, 13, 14])], 4)
    assert (ad_hoc[0] < 11).all() and (ad_hoc[1] >= 11).all()


def test_popularity_counts_weights() -> None:
    train = clusters()
    expected = np.bincount(train.items, train.weights, minlength=train.n_items)
    items, scores = (
        build("popularity", Popularity()).fit(train).recommend(np.array([0]), 24, exclude_seen=False)
    )
    found = items[0] >= 0
    assert found.sum() == (expected > 0).sum()
    np.testing.assert_allclose(scores[0, found], np.sort(expected)[::-1][: found.sum()], rtol=1e-6)


def test_an_unknown_name_or_empty_folder_is_an_input_error(tmp_path) -> None:
    with pytest.raises(InputError, match="ease.*Known: popularity"):
        build("ease", Popularity())
    with pytest.raises(InputError, match="longtail train"):
        load(Workspace(str(tmp_path)) / "nothing")
