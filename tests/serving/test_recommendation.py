"""A recommendation says who it is for, how far it trusts the LLM, and where every item came from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from longtail.aggregation.artefact import AGGREGATOR, fit_aggregator
from longtail.aggregation.choice import FIGURES, Figure, Kind, write_figures
from longtail.aggregation.kinds import Paper
from longtail.errors import InputError
from longtail.recipe import Recipe, Serving
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.schema import FUSED, HISTORIES, ITEMS, RANKINGS
from longtail.serving.recommendation import BadRequest, Recommendation, Recommendations, read_recipe
from longtail.workspace import Workspace
from tests.aggregation.test_choice import figure

TRAIN = [[0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 5, 0, 1, 2], [5], [7], []]
"""Training items by user; item 6 is cold and nobody shares item 7."""
LATER = [[6], [6], [6], [6], [6], [6], [0]]
"""What each user took afterwards: the validation item."""
LISTED = {3: [7, 6], 0: [4, 6, 5, 7]}
"""The LLM's lists: it did not know that item 6 would be taken."""
SERVING = Serving(candidates=6)
RECIPE = Recipe(name="tiny", serving=SERVING)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """An evaluated workspace, written by hand: one later item per user, LLM lists for users 0 and 3."""
    ws = Workspace(str(tmp_path))
    with ws.stage("data", {}).publishing() as data:
        counts = np.bincount(np.concatenate(TRAIN).astype(int), minlength=8)
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
                "items": [*items, *later],
                "train_end": len(items),
                "valid_end": len(items) + 1,
            }
            for user, (items, later) in enumerate(zip(TRAIN, LATER, strict=True))
        ]
        (data / "histories/b.parquet").write_table(pa.Table.from_pylist(histories[:2], HISTORIES))
        (data / "histories/a.parquet").write_table(pa.Table.from_pylist(histories[2:], HISTORIES))
    with ws.stage("augmentation/next_item", {}).publishing() as draft:
        ranked = [
            {"user": user, "items": items, "scores": np.linspace(0.9, 0.1, len(items)).tolist()}
            for user, items in LISTED.items()
        ]
        (draft / "rankings/a.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    with ws.stage("recommenders/discriminated/itemcf-0", {}).publishing() as draft:
        rows = [
            {"user": user, "items": items, "weights": [1.0] * len(items), "observed": len(items)}
            for user, items in enumerate(TRAIN)
        ]
        train = Interactions.from_table(pa.Table.from_pylist(rows, FUSED), n_items=8)
        build("itemcf", ItemCFSection()).fit(train).save(draft)
    evaluated(ws)
    return ws


def evaluated(ws: Workspace, **fusion) -> None:
    """What `evaluate` leaves: the recommender alone, and better on validation fused with the LLM's list."""
    own = Paper(**{"alpha_1": 0.5, "alpha_2": 0.1} | fusion)
    fused = {"fusion": own, "kinds": {"paper": Kind(own, 0.2)}, "candidates": 6}
    chosen_from(
        ws, figure("itemcf", "discriminated", 0.1), figure("itemcf", "served_discriminated", 0.2, **fused)
    )


def chosen_from(ws: Workspace, *figures: Figure, serving: Serving = SERVING) -> None:
    """Publish figures, and what is chosen from them."""
    with ws.stage(FIGURES, [one.written() for one in figures]).publishing() as draft:
        write_figures([*figures], draft)
    fit_aggregator(RECIPE.model_copy(update={"serving": serving}), ws)


@pytest.fixture
def here(ws: Workspace) -> Recommendations:
    return Recommendations(ws, SERVING)


def ask(here: Recommendations, user_id: str, k: int | None = None) -> Recommendation:
    user = here.user(user_id)
    ranked = here.popular() if user is None else here.rank_users([user])[0]
    return here.for_user(user_id, ranked, here.length(k), known=user is not None)


def ask_history(here: Recommendations, *ids: str, k: int | None = None) -> Recommendation:
    known, unknown = here.history(list(ids))
    return here.for_history(unknown, here.rank_histories([known])[0], here.length(k))


def test_the_whole_history_is_asked_with_and_masked_also_in_the_llms_list(here: Recommendations) -> None:
    """User 6 took nothing in training: only the later item 0 says what ItemCF may offer. Item 6 stands in both lists."""
    found = ask(here, "u6")
    assert (found.interactions, found.recommender) == (1, "itemcf")
    assert found.items and "i0" not in {item.item_id for item in found.items}
    for user_id, later in (("u0", "i6"), ("u3", "i6")):
        ranked = ask(here, user_id)
        assert ranked.llm == "ranking" and later not in {item.item_id for item in ranked.items}
    assert ask(here, "u0").interactions == len(TRAIN[0]) + 1
    assert here.health.history == "asked"


def test_both_lists_and_their_places(here: Recommendations) -> None:
    found = ask(here, "u0")
    assert (found.user, found.interactions, found.llm, found.recommender) == ("u0", 4, "ranking", "itemcf")
    # l_min = log 1, l_max = log 7 over the training lengths 0..6; N(u) = 4, that of the whole history.
    assert found.alpha == pytest.approx(0.5 * np.log(7 / 5) / np.log(7))
    by_item = {item.item_id: item for item in found.items}
    assert by_item["i4"].llm_rank == 1 and by_item["i4"].llm_score == pytest.approx(0.9)
    assert by_item["i5"].llm_rank == 2 and by_item["i3"].llm_rank is None and by_item["i3"].llm_score is None
    assert not {"i0", "i1", "i2", "i6"} & set(by_item), "what the user has is not recommended"
    assert [item.score for item in found.items] == sorted((item.score for item in found.items), reverse=True)
    assert by_item["i3"].title == "Title 3"
    places = sorted(
        (item for item in found.items if item.recommender_rank), key=lambda item: item.recommender_rank
    )
    assert [item.recommender_rank for item in places] == list(range(1, len(places) + 1))
    scores = [item.recommender_score for item in places]
    assert scores == sorted(scores, reverse=True)


def test_the_sparser_user_trusts_the_llm_more(here: Recommendations) -> None:
    assert ask(here, "u0").alpha > ask(here, "u3").alpha == pytest.approx(0.5 * 0.1)


def test_an_item_that_only_the_llm_names_is_ranked(here: Recommendations) -> None:
    last = next(item for item in ask(here, "u0").items if item.item_id == "i7")
    assert last.recommender_rank is None and last.recommender_score is None and last.llm_rank == 3


def test_without_llm_ranking_the_recommender_decides(here: Recommendations) -> None:
    for user_id in ("u1", "u5"):
        found = ask(here, user_id)
        assert found.llm == "none" and found.alpha == 0
        assert [item.recommender_rank for item in found.items] == list(range(1, len(found.items) + 1))


def test_scores_may_be_fused_instead_of_places(ws: Workspace) -> None:
    evaluated(ws, utility="score", alpha_1=0.5, alpha_2=1.0)
    found = ask(Recommendations(ws, SERVING), "u0")
    best = max(item.recommender_score or 0 for item in found.items)
    for item in found.items:
        shares = (item.llm_score or 0) / 0.9, (item.recommender_score or 0) / best
        assert item.score == pytest.approx(sum(shares) / 2)
    assert found.alpha == 0.5


def test_what_was_chosen_is_served(ws: Workspace) -> None:
    chosen = Recommendations(ws, SERVING).health
    assert (chosen.recommender, chosen.variant, chosen.list) == ("itemcf", "discriminated", "next_item")
    assert chosen.fusion == Paper(0.5, 0.1).told()
    assert (chosen.chosen_by, chosen.validation_ndcg) == ("validation", 0.2)
    with pytest.raises(
        InputError, match="serving.alpha_1 = 0.9: the aggregator was fitted with 0.5.*fit-aggregator"
    ):
        Recommendations(ws, SERVING.model_copy(update={"alpha_1": 0.9}))
    chosen_from(ws, figure("itemcf", "discriminated", 0.3), figure("itemcf", "served_discriminated", 0.2))
    alone = Recommendations(ws, SERVING)
    assert alone.health.list is None and alone.health.users_with_llm_ranking == 0
    assert ask(alone, "u0").llm == "none"


def test_a_list_that_is_gone_names_the_stage(ws: Workspace) -> None:
    (ws / "augmentation").delete()
    with pytest.raises(InputError, match="longtail augment"):
        Recommendations(ws, SERVING)


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


def test_somebody_unknown_gets_the_popular_list_and_is_told_so(here: Recommendations) -> None:
    found = ask(here, "nobody", k=3)
    assert (found.user, found.user_known, found.recommender, found.llm) == (
        "nobody",
        False,
        "popularity",
        "none",
    )
    assert (found.interactions, found.alpha) == (0, 0.0)
    assert [item.item_id for item in found.items] == ["i1", "i2", "i0"], "of equally popular ones the first"
    assert ask(here, "u5").user_known is True and ask_history(here, "i0").user_known is None


def test_faults_are_named(here: Recommendations) -> None:
    with pytest.raises(BadRequest, match="none of these items"):
        here.history(["x", "y"])
    with pytest.raises(BadRequest, match="at most 6"):
        here.length(7)
    assert here.length(None) == 6, "the default is cut to the candidates"


def test_an_unfinished_workspace_names_the_stage(
    ws: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(InputError, match="longtail prepare"):
        Recommendations(Workspace(str(tmp_path_factory.mktemp("empty"))), SERVING)
    (ws / AGGREGATOR).delete()
    with pytest.raises(InputError, match="longtail evaluate"):
        Recommendations(ws, SERVING)


def test_a_recipe_of_another_version_is_named(tmp_path: Path) -> None:
    ws = Workspace(str(tmp_path))
    (ws / "recipe.yaml").write_bytes(b"name: old\nserving: {recommender: swing, size: 3}")
    with pytest.raises(InputError, match="serving.size.*longtail run"):
        read_recipe(ws)
