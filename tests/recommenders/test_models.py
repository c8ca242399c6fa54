"""What holds for every recommender."""

import json

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.recommenders import assemble, build, load
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.popularity import PopularitySection
from longtail.registry import recommender_spec
from longtail.workspace import Workspace
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


def test_a_model_of_read_only_parts_answers_as_the_fitted_one(name: str) -> None:
    """Serving memory-maps them. None of the answers may depend on it, and none may write to them."""
    train = clusters()
    model = build(name, SECTIONS[name], seed=3).fit(train)
    parts = {part: array.copy() for part, array in model.parts().items()}
    for array in parts.values():
        array.flags.writeable = False
    again = assemble(json.loads(json.dumps(model.meta)), parts)
    users, histories = np.arange(train.n_users), [np.array([1, 2], np.int32), np.array([], np.int32)]
    np.testing.assert_array_equal(again.recommend(users, 7), model.recommend(users, 7))
    np.testing.assert_array_equal(
        again.recommend_history(histories, 7), model.recommend_history(histories, 7)
    )
    asked = Histories.of(histories)
    np.testing.assert_array_equal(again.score(asked, None), model.score(asked, None))
    if model.item_vectors is not None:
        assert len(again.item_vectors) == train.n_items
        np.testing.assert_array_equal(again.item_vectors, model.item_vectors)


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


def test_a_later_item_is_asked_with_or_the_model_says_that_it_keeps_its_users(name: str) -> None:
    """Evaluation refuses to ask those that keep users after the validation item; popularity asks nobody."""
    train, section = clusters(), SECTIONS[name]
    model, users = build(name, section, seed=3).fit(train), np.arange(1, train.n_users)
    later = np.array([[17, 18] if user % 2 == 0 else [3, 4] for user in users], np.int32)  # of the other half
    before, after = (
        model.recommend(users, train.n_items, since=since)
        for since in (None, Histories(np.arange(0, later.size + 1, 2), later.ravel()))
    )
    scores = np.full((2, len(users), train.n_items), np.nan)
    for own, (items, values) in zip(scores, (before, after), strict=True):
        rows, places = np.nonzero(items >= 0)
        own[rows, items[rows, places]] = values[rows, places]
    assert np.isnan(scores[1][np.arange(len(users))[:, None], later]).all(), "what was taken since is masked"
    both = ~np.isnan(scores).any(axis=0)
    follows = not np.allclose(scores[0][both], scores[1][both], rtol=1e-4, atol=1e-6)
    assert follows == (not recommender_spec(name).keeps_users and name != "popularity")


def test_a_user_whose_items_all_came_since_the_fit_is_ranked_as_an_ad_hoc_one(name: str) -> None:
    """User 0 took nothing in training, so that no vector of this user means anything."""
    model = build(name, SECTIONS[name], seed=3).fit(clusters())
    history = np.array([1, 2, 3], np.int32)
    items, scores = model.recommend(np.array([5, 0]), 6, since=Histories.of([history[:0], history]))
    ad_hoc, values = model.recommend_history([history], 6)
    np.testing.assert_array_equal(items[1], ad_hoc[0])
    np.testing.assert_allclose(scores[1], values[0], rtol=1e-4)
    np.testing.assert_array_equal(items[0], model.recommend(np.array([5]), 6)[0][0])


def test_asking_nobody_is_no_error(name: str) -> None:
    items, scores = build(name, SECTIONS[name]).fit(clusters()).recommend(np.array([], np.int64), 4)
    assert items.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("name", ["itemcf", "swing", "ease", "rp3beta", "bpr", "lightgcn"])
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
        build("popularity", PopularitySection()).fit(train).recommend(np.array([0]), 24, exclude_seen=False)
    )
    found = items[0] >= 0
    assert found.sum() == (expected > 0).sum()
    np.testing.assert_allclose(scores[0, found], np.sort(expected)[::-1][: found.sum()], rtol=1e-6)


def test_an_unknown_name_or_empty_folder_is_an_input_error(tmp_path) -> None:
    with pytest.raises(InputError, match="slim.*Known: popularity"):
        build("slim", PopularitySection())
    with pytest.raises(InputError, match="longtail train"):
        load(Workspace(str(tmp_path)) / "nothing")
