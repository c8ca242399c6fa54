"""A recommendation says who it is for, how far it trusts the LLM, and where every item came from."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.errors import InputError
from app.recipe import Recipe
from app.recommenders import build
from app.recommenders.base import Interactions
from app.schema import FUSED, HISTORIES, ITEMS, RANKINGS
from app.serving.messages import Recommendation
from app.serving.recommendation import BadQuestion, Recommendations, UnknownUser, served
from app.workspace import Workspace

TRAIN = [[0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 5, 0, 1, 2], [5], [7]]
"""Training items by user; item 6 is cold and nobody shares item 7."""


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "name": "small",
            "recommenders": {"itemcf": {}},
            "serving": {"recommender": "itemcf", "variant": "discriminated", "candidates": 6},
        }
    )


@pytest.fixture
def ws(tmp_path: Path, recipe: Recipe) -> Workspace:
    """A finished workspace, written by hand: one held-out item per user, LLM lists for users 0 and 3."""
    ws = Workspace(str(tmp_path))
    with ws.stage("data", {}).publishing() as data:
        counts = np.bincount(np.concatenate(TRAIN), minlength=8)
        items = [
            {
                "item": item,
                "item_id": f"i{item}",
                "title": None if item == 2 else f"Title {item}",
                "train_count": count,
            }
            for item, count in enumerate(counts.tolist())
        ]
        (data / "items.parquet").write_table(pa.Table.from_pylist(items[::-1], ITEMS))
        histories = [
            {
                "user": user,
                "user_id": f"u{user}",
                "items": [*items, 6],
                "train_end": len(items),
                "valid_end": len(items),
            }
            for user, items in enumerate(TRAIN)
        ]
        (data / "histories/b.parquet").write_table(pa.Table.from_pylist(histories[:2], HISTORIES))
        (data / "histories/a.parquet").write_table(pa.Table.from_pylist(histories[2:], HISTORIES))
    with ws.stage("augmentation/next_item", {}).publishing() as draft:
        ranked = [
            {"user": 3, "items": [7], "scores": [0.5]},
            {"user": 0, "items": [4, 5, 7], "scores": [0.9, 0.2, 0.1]},
        ]
        (draft / "rankings/a.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    with ws.stage("recommenders/discriminated/itemcf-0", {}).publishing() as draft:
        rows = [
            {"user": user, "items": items, "weights": [1.0] * len(items), "observed": len(items)}
            for user, items in enumerate(TRAIN)
        ]
        train = Interactions.from_table(pa.Table.from_pylist(rows, FUSED), n_items=8)
        build("itemcf", recipe.recommenders.itemcf).fit(train).save(draft)
    return ws


@pytest.fixture
def here(recipe: Recipe, ws: Workspace) -> Recommendations:
    return Recommendations(recipe, ws)


def ask(here: Recommendations, user_id: str, k: int | None = None) -> Recommendation:
    user = here.user(user_id)
    return here.for_user(user, here.rank_users([user])[0], here.length(k))


def ask_history(here: Recommendations, *ids: str, k: int | None = None) -> Recommendation:
    known, unknown = here.history(list(ids))
    return here.for_history(known, unknown, here.rank_histories([known])[0], here.length(k))


def test_both_lists_and_their_places(here: Recommendations) -> None:
    found = ask(here, "u0")
    assert (found.user, found.interactions, found.llm, found.recommender) == ("u0", 3, "ranking", "itemcf")
    # l_min = log 2, l_max = log 7 over the training lengths 1..6.
    assert found.alpha == pytest.approx(0.5 * np.log(7 / 4) / np.log(7 / 2))
    by_item = {item.item_id: item for item in found.items}
    assert by_item["i4"].llm_rank == 1 and by_item["i4"].llm_score == pytest.approx(0.9)
    assert by_item["i5"].llm_rank == 2 and by_item["i3"].llm_rank is None and by_item["i3"].llm_score is None
    assert not {"i0", "i1", "i2"} & set(by_item), "what the user has is not recommended"
    assert [item.score for item in found.items] == sorted((item.score for item in found.items), reverse=True)
    assert by_item["i3"].title == "Title 3"
    places = sorted(
        (item for item in found.items if item.recommender_rank), key=lambda item: item.recommender_rank
    )
    assert [item.recommender_rank for item in places] == list(range(1, len(places) + 1))
    scores = [item.recommender_score for item in places]
    assert scores == sorted(scores, reverse=True)


def test_the_sparser_user_trusts_the_llm_more(here: Recommendations) -> None:
    assert ask(here, "u0").alpha > ask(here, "u3").alpha == pytest.approx(0.5 * 0.3)


def test_an_item_that_only_the_llm_names_is_ranked(here: Recommendations) -> None:
    last = next(item for item in ask(here, "u0").items if item.item_id == "i7")
    assert last.recommender_rank is None and last.recommender_score is None and last.llm_rank == 3


def test_without_llm_ranking_the_recommender_decides(here: Recommendations) -> None:
    for user_id in ("u1", "u5"):
        found = ask(here, user_id)
        assert found.llm == "none" and found.alpha == 0
        assert [item.recommender_rank for item in found.items] == list(range(1, len(found.items) + 1))


def test_scores_may_be_fused_instead_of_places(recipe: Recipe, ws: Workspace) -> None:
    serving = recipe.serving.model_copy(update={"utility": "score", "alpha_1": 0.5, "alpha_2": 1.0})
    found = ask(Recommendations(recipe.model_copy(update={"serving": serving}), ws), "u0")
    best = max(item.recommender_score or 0 for item in found.items)
    for item in found.items:
        shares = (item.llm_score or 0) / 0.9, (item.recommender_score or 0) / best
        assert item.score == pytest.approx(sum(shares) / 2)
    assert found.alpha == 0.5


def test_a_recipe_whose_strategies_rank_for_nobody_serves_the_recommender(ws: Workspace) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "generator": {"tasks": {"id_list": 1}},
            "augment": [{"strategy": "id_list"}],
            "variants": ["observed", "id_list"],
            "recommenders": {"itemcf": {}},
            "serving": {"recommender": "itemcf", "variant": "observed", "candidates": 6},
        }
    )
    shutil.move(f"{ws}/recommenders/discriminated", f"{ws}/recommenders/observed")
    shutil.rmtree(f"{ws}/augmentation")
    assert ask(Recommendations(recipe, ws), "u0").llm == "none"
    serving = recipe.serving.model_copy(update={"list": "next_item"})
    with pytest.raises(InputError, match="serving.list = 'next_item'"):
        Recommendations(recipe.model_copy(update={"serving": serving}), ws)


def test_a_list_that_is_not_made_yet_names_the_stage(recipe: Recipe, ws: Workspace) -> None:
    shutil.rmtree(f"{ws}/augmentation")
    with pytest.raises(InputError, match="longtail augment"):
        Recommendations(recipe, ws)


def test_history_is_answered_as_the_model_does_and_says_what_it_ignored(here: Recommendations) -> None:
    found = ask_history(here, "i0", "nothing", "i1", k=2)
    assert found.user is None and found.llm == "none" and found.alpha == 0 and found.interactions == 2
    assert found.unknown_items == ["nothing"]
    assert [item.item_id for item in found.items][0] == "i2", "u0, u1 and u3 took it with both"
    assert found.items[0].title is None
    assert len(found.items) == 2


def test_popularity_stands_in_where_the_model_knows_nothing(here: Recommendations) -> None:
    """User 5 shares no item with anybody, and the history is of the cold item."""
    for found, own in ((ask(here, "u5"), "i7"), (ask_history(here, "i6"), "i6")):
        assert found.recommender == "popularity"
        assert [item.item_id for item in found.items][:2] == ["i1", "i2"]
        assert found.items[0].recommender_score == 4
        assert own not in {item.item_id for item in found.items}


def test_faults_are_named(here: Recommendations) -> None:
    with pytest.raises(UnknownUser, match="no user 'nobody'"):
        here.user("nobody")
    with pytest.raises(BadQuestion, match="none of these items"):
        here.history(["x", "y"])
    with pytest.raises(BadQuestion, match="at most 6"):
        here.length(7)
    assert here.length(None) == 6, "the default is cut to the candidates"


def test_an_unfinished_workspace_names_the_stage(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longtail train"):
        Recommendations(recipe, Workspace(str(tmp_path)))


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ({"recommender": "swing"}, "trains itemcf"),
        ({"recommender": "itemcf", "variant": "popular"}, "trained on observed, discriminated"),
    ],
)
def test_what_is_not_trained_cannot_be_served(serving: dict[str, str], message: str) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "variants": ["observed", "discriminated"],
            "recommenders": {"itemcf": {}},
            "serving": serving,
        }
    )
    with pytest.raises(InputError, match=message):
        served(recipe)
