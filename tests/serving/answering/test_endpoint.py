"""An answer says who it is for, how far it trusts the LLM, where every item came from, and what is missing."""

import asyncio

import numpy as np
import pytest

from longtail.aggregation.artefact import AGGREGATOR
from longtail.aggregation.kinds import Paper
from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.answering.parts import NoList
from longtail.serving.messages.problems import Refused
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.served_run import read_recipe
from longtail.workspace import Workspace
from tests.aggregation.test_choice import figure
from tests.serving.store import (
    LATER,
    SERVING,
    TRAIN,
    Told,
    ask,
    chosen_from,
    endpoint,
    evaluated,
    fit,
    ids,
    mapped,
    missing,
    snapshot,
)


def test_the_whole_history_is_asked_with_and_masked_also_in_the_llms_list(here: Endpoint) -> None:
    """User 6 took nothing in training: only the later item 0 says what ItemCF may offer. Item 6 stands in both lists."""
    found = ask(here, "u6")
    assert (found.interactions, found.recommender) == (1, "itemcf")
    assert found.items and "i0" not in ids(found)
    for user_id, later in (("u0", "i6"), ("u3", "i6")):
        ranked = ask(here, user_id)
        assert ranked.list == "next_item" and later not in ids(ranked)
    assert ask(here, "u0").interactions == len(TRAIN[0]) + 1


def test_both_lists_their_places_and_utilities(here: Endpoint) -> None:
    found = ask(here, "u0")
    assert (found.user, found.interactions, found.recommender) == ("u0", 4, "itemcf")
    # l_min = log 1, l_max = log 7 over the training lengths 0..6; N(u) = 4, that of the whole history.
    assert found.sparsity == pytest.approx(np.log(7 / 5) / np.log(7))
    assert found.alpha == pytest.approx(0.5 * found.sparsity)
    by_item = {item.item_id: item for item in found.items}
    assert by_item["i4"].llm_rank == 1 and by_item["i5"].llm_rank == 2 and by_item["i3"].llm_rank is None
    assert not {"i0", "i1", "i2", "i6"} & set(by_item), "what the user has is not recommended"
    for item in found.items:
        fused = found.alpha * item.llm_utility + (1 - found.alpha) * item.recommender_utility
        assert item.score == pytest.approx(fused)
    assert [item.score for item in found.items] == sorted((item.score for item in found.items), reverse=True)
    assert by_item["i3"].title == "Title 3"
    places = sorted(item.recommender_rank for item in found.items if item.recommender_rank)
    assert places == list(range(1, len(places) + 1))
    last = by_item["i7"]
    assert last.recommender_rank is None and last.llm_rank == 3, "only the LLM names it"


def test_the_sparser_user_trusts_the_llm_more(here: Endpoint) -> None:
    assert ask(here, "u0").alpha > ask(here, "u3").alpha == pytest.approx(0.5 * 0.1)


def test_a_user_without_a_list_gets_the_recommender_and_misses_nothing(here: Endpoint) -> None:
    for user_id in ("u1", "u5"):
        found = ask(here, user_id)
        assert (found.list, found.alpha, found.degraded) == (None, 0, None)
        assert [item.recommender_rank for item in found.items] == list(range(1, len(found.items) + 1))


def test_what_was_chosen_is_served(ws: Workspace, here: Endpoint) -> None:
    version = here.version()
    (arm,) = version.arms
    assert (arm.recommender, arm.variant, arm.list) == ("itemcf", "discriminated", "next_item")
    assert arm.fusion == Paper(0.5, 0.1).told() and arm.history == "asked"
    assert (version.users, version.items, version.users_with_llm_list) == (7, 8, 2)
    assert version.attributes == ["genres"] and version.refused is None
    with pytest.raises(InputError, match="serving.alpha_1 = 0.9: the aggregator was fitted with 0.5"):
        snapshot(ws, SERVING.model_copy(update={"alpha_1": 0.9}))
    chosen_from(ws, figure("itemcf", "discriminated", 0.3), figure("itemcf", "served_discriminated", 0.2))
    here.versions.look()
    assert here.version().arms[0].list is None and here.version().model_version != version.model_version
    assert ask(here, "u0").list is None


def test_scores_may_be_fused_instead_of_places(ws: Workspace) -> None:
    evaluated(ws, utility="score", alpha_1=0.5, alpha_2=1.0)
    found = ask(endpoint(ws), "u0")
    best = max(found.items, key=lambda item: item.llm_utility)
    assert (best.llm_rank, best.llm_utility, found.alpha) == (1, 1.0, 0.5)


@pytest.mark.parametrize(
    "lost", ["augmentation", "data/items.parquet", "recommenders/discriminated/itemcf-0"]
)
def test_what_is_gone_is_named_with_its_stage(ws: Workspace, lost: str) -> None:
    (ws / lost).delete()
    with pytest.raises(InputError, match=rf"{lost}.*longtail (augment|prepare|train)"):
        snapshot(ws)


def test_an_unfinished_workspace_names_the_stage(ws: Workspace, tmp_path_factory) -> None:
    with pytest.raises(InputError, match="longtail prepare"):
        snapshot(Workspace(str(tmp_path_factory.mktemp("empty"))))
    (ws / AGGREGATOR).delete()
    with pytest.raises(InputError, match="longtail evaluate"):
        snapshot(ws)


def test_a_recipe_of_another_version_is_named(tmp_path) -> None:
    ws = Workspace(str(tmp_path))
    (ws / "recipe.yaml").write_bytes(b"name: old\nserving: {recommender: swing, size: 3}")
    with pytest.raises(InputError, match="(?s)serving.size.*longtail run"):
        read_recipe(ws)


def test_a_history_is_answered_as_the_model_does_and_says_what_it_ignored(here: Endpoint) -> None:
    found = ask(here, None, "i0", "nothing", "i1", k=2)
    assert (found.user, found.user_known, found.alpha, found.interactions) == (None, None, 0, 2)
    assert missing(found) == {"history": "unknown_items", "llm": "not_live"}
    assert found.degraded.parts[0].items == ["nothing"]
    assert ids(found)[0] == "i2" and found.items[0].title is None, "u0, u1 and u3 took it with both"
    assert len(found.items) == 2


def test_a_user_with_exactly_this_history(ws: Workspace, here: Endpoint) -> None:
    """From the history that the list was made from nothing is missing; otherwise the list is older, or not his."""
    made_from = [f"i{item}" for item in TRAIN[0]]
    as_evaluated = ask(here, "u0", *made_from)
    assert as_evaluated.degraded is None and as_evaluated.interactions == 3
    assert next(item for item in as_evaluated.items if item.item_id == "i6").llm_rank == 2
    assert missing(ask(here, "u0")) == missing(ask(here, "u0", *made_from, "i3")) == {"llm": "moved_on"}
    other = ask(here, "u0", *made_from[::-1])
    assert missing(other) == {"llm": "not_live"} and other.list is None
    assert ids(ask(here, "u0", *made_from, "i6")) == ids(ask(here, "u0")), "the whole history, in words"


def test_popularity_stands_in_where_the_model_knows_nothing(here: Endpoint) -> None:
    """User 5 shares no item with anybody, and the history is of the cold item."""
    for found, own in ((ask(here, "u5"), "i7"), (ask(here, None, "i6"), "i6")):
        assert found.recommender == "popularity"
        assert ids(found)[:2] == ["i1", "i2"] and own not in ids(found)


@pytest.mark.parametrize("asked", [("nobody",), (None, "no", "such")])
def test_of_somebody_unknown_the_popular_list_says_so(here: Endpoint, asked: tuple) -> None:
    found = ask(here, *asked, k=3)
    assert (found.recommender, found.list, found.interactions, found.alpha) == ("popularity", None, 0, 0)
    assert ids(found) == ["i1", "i2", "i0"], "of equally popular ones the first"
    reasons = {"user": "unknown_user"} if asked[0] else {"history": "unknown_items"}
    assert missing(found) == reasons and found.degraded.parts[0].stood_in == "the popular items"
    empty = asyncio.run(here.recommend(RecommendRequest(history=[], k=3)))
    assert ids(empty) == ids(found) and missing(empty) == {"user": "unknown_user"}


def test_excluded_and_filtered_items_make_room_for_others(ws: Workspace, here: Endpoint) -> None:
    whole = ask(here, "u0", k=100)
    banned = ids(whole)[:2]
    left = ask(here, "u0", exclude=[*banned, "unknown"], k=100)
    assert ids(left) == [one for one in ids(whole) if one not in banned]
    assert [item.recommender_rank for item in left.items if item.recommender_rank][0] == 1
    comedies = ask(here, "u0", filter={"genres": ["Comedy"]})
    assert set(ids(comedies)) == {"i3", "i4", "i7"}
    assert set(ids(ask(here, None, "i0", filter={"genres": ["War", "x"]}))) == {"i1", "i2", "i5"}
    nothing = ask(here, "u0", filter={"genres": ["Western"]})
    assert not nothing.items and missing(nothing)["filter"] == "no_match"
    nothing = ask(here, "u0", filter={"genres": ["Comedy"]}, exclude=["i3", "i4", "i7"])
    assert not nothing.items


def test_an_unknown_attribute_is_named_with_its_nearest(here: Endpoint) -> None:
    with pytest.raises(Refused) as refused:
        ask(here, "u0", filter={"genre/s": ["War"]})
    assert refused.value.status == 409 and "'genres'" in refused.value.detail
    assert refused.value.faults[0].pointer == "/filter/genre~1s"


def test_a_look_up_is_what_the_model_ranks(ws: Workspace) -> None:
    """With look-ups and without, for every user, and for those who exclude something."""
    fit(ws, "bpr", dim=4, epochs=2)
    for name in ("itemcf", "bpr"):
        chosen_from(ws, figure(name, "discriminated", 0.1), figure(name, "served_discriminated", 0.2))
        looked_up, ranked = mapped(ws), snapshot(ws)
        assert looked_up.default.retriever.rows is not None and ranked.default.retriever.rows is None
        everybody = np.arange(len(TRAIN))
        for one in (looked_up, ranked):
            one.check()
        assert np.array_equal(looked_up.of_users(everybody).items, ranked.of_users(everybody).items)
        with_rows, without = endpoint(ws), endpoint(ws)
        without.versions.current = ranked
        for user in everybody:
            for more in ({}, {"exclude": ["i3"]}, {"filter": {"genres": ["War"]}}):
                asked = [ask(one, f"u{user}", k=100, **more) for one in (with_rows, without)]
                assert ids(asked[0]) == ids(asked[1])
            own = looked_up.of_users(np.array([user])).items[0]
            assert ids(ask(with_rows, f"u{user}", k=100)) == [f"i{item}" for item in own[own >= 0]]


def test_a_batch_is_answered_as_one_by_one(here: Endpoint) -> None:
    requests = [RecommendRequest(user_id=f"u{user}", k=4) for user in range(7)]
    requests += [RecommendRequest(history=[f"i{item}"], k=4) for item in range(8)]
    found = asyncio.run(here.recommend_batch(requests)).answers
    assert [ids(one) for one in found] == [ids(asyncio.run(here.recommend(one))) for one in requests]
    assert len({one.recommendation_id for one in found}) == len(requests)
    assert found == here.events.answers[: len(found)], "each is written down"


def test_later_items_are_known_to_the_next_answer(ws: Workspace) -> None:
    here = endpoint(ws, events=Told(u0=["i6", "i4", "gone"], new=["i0", "i1"]))
    found = ask(here, "u0", k=100)
    assert found.interactions == len(TRAIN[0]) + len(LATER[0]) + 1 and "i4" not in ids(found)
    assert missing(found) == {"history": "unknown_items", "llm": "moved_on"}
    assert found.degraded.parts[1].stood_in == "the list that was made before the latest 2 items"
    new = ask(here, "new", k=100)
    assert ids(new) == ids(ask(here, None, "i0", "i1", k=100)) and new.user_known is False
    assert missing(new) == {"llm": "not_live"}


def test_a_batch_says_which_request_is_wrong(here: Endpoint) -> None:
    requests = [RecommendRequest(user_id="u0"), RecommendRequest(user_id="u0", filter={"genre": ["War"]})]
    with pytest.raises(Refused) as refused:
        asyncio.run(here.recommend_batch(requests))
    assert refused.value.faults[0].pointer == "/requests/1/filter/genre"


def test_arms_answer_side_by_side(ws: Workspace) -> None:
    """Half of the users get the list, the other half the recommender alone; both from one snapshot."""
    arms = {"lists": {"share": 0.5}, "alone": {"share": 0.5, "serving": {"list": "none"}}}
    split = Serving.model_validate(SERVING.model_dump(exclude_unset=True) | {"arms": arms})
    here, everybody = endpoint(ws, split), [f"u{user}" for user in range(7)]
    assert [arm.arm for arm in here.version().arms] == ["lists", "alone"]
    assert here.version().arms[1].list is None
    plain, met = endpoint(ws), set()
    for user_id in everybody:
        found = ask(here, user_id)
        met.add(found.arm)
        if found.arm == "lists":
            assert ids(found) == ids(ask(plain, user_id))
        else:
            assert found.list is None and all(item.llm_rank is None for item in found.items)
            assert not found.degraded
    assert met == {"lists", "alone"}
    assert ask(here, None, "i0").arm == "lists", "the baseline, of whom nobody knows"


class Live:
    """A live LLM that answers what the test says, or raises it."""

    def __init__(self, answer, seconds: float = 0) -> None:
        self.answer, self.seconds, self.asked = answer, seconds, []

    async def rank(self, history, k, made_of, left):
        self.asked.append((history.tolist(), k, made_of))
        await asyncio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def check(self) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer


def live_list(*items: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array(items, np.int32), np.linspace(0.9, 0.1, len(items)).astype(np.float32)


def test_a_live_llm_ranks_what_no_list_was_made_from(ws: Workspace) -> None:
    live = Live(live_list(7, 3, 6))
    here = endpoint(ws, live=live)
    for asked in (("u0",), (None, "i0", "i1"), ("nobody", "i0")):
        found = ask(here, *asked, k=100)
        assert (found.degraded, found.list) == (None, "next_item") and found.alpha > 0
        ranks = {item.item_id: item.llm_rank for item in found.items}
        assert ranks["i7"] == 1 and ranks["i3"] == 2
    assert "i6" not in ids(ask(here, "u0", k=100)), "he has it"
    assert live.asked[0] == ([0, 1, 2, 6], 4, here.snapshot.sources.made_of["augmentation/next_item"])
    many = len(live.asked)
    assert ask(here, "u0", *(f"i{item}" for item in TRAIN[0])).degraded is None
    assert len(live.asked) == many, "that list was made before"
    asyncio.run(here.ready())


@pytest.mark.parametrize(
    ("answer", "seconds", "reason"),
    [
        (NoList("failed"), 0, "failed"),
        (NoList("not_live"), 0, "not_live"),
        (RuntimeError("dead"), 0, "failed"),
        (live_list(7, 7), 0, "failed"),
        (live_list(99), 0, "failed"),
        ((np.array([1.5]), np.array([1.0])), 0, "failed"),
        ((np.array([1]), np.array([np.nan])), 0, "failed"),
        (live_list(7), 60, "late"),
    ],
)
def test_without_its_answer_the_older_list_stands_in(ws: Workspace, answer, seconds, reason) -> None:
    without, with_it = endpoint(ws), endpoint(ws, live=Live(answer, seconds))
    for asked in (("u0",), (None, "i0", "i1")):
        found = ask(with_it, *asked, deadline_ms=50 if seconds else None)
        assert missing(found) == {"llm": reason} and ids(found) == ids(ask(without, *asked))
    if isinstance(answer, Exception):
        with pytest.raises(Refused) as refused:
            asyncio.run(with_it.ready())
        assert refused.value.status == 503


def test_a_late_or_broken_model_is_left_out(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    here = endpoint(ws)

    async def late(*_):
        await asyncio.sleep(60)

    async def broken(*_):
        raise RuntimeError("broken")

    for ranks, reason in ((late, "late"), (broken, "failed")):
        monkeypatch.setattr(here._ranker, "rank", ranks)
        known = ask(here, "u0", *(f"i{item}" for item in TRAIN[0]), deadline_ms=20)
        assert missing(known) == {"retriever": reason} and known.recommender == "itemcf"
        assert "workspace" in known.degraded.parts[0].stood_in
        adhoc = ask(here, None, "i0", deadline_ms=20)
        assert missing(adhoc)["retriever"] == reason and adhoc.recommender == "popularity"
        assert ask(here, "u1").degraded is None, "look-ups need no model"


def test_similar_items_and_titles(ws: Workspace, here: Endpoint) -> None:
    near = asyncio.run(here.similar("i0", 3))
    model = here.snapshot.default.retriever.model
    items, scores = model.similar_items(np.array([0]), 3)
    assert [one.item_id for one in near.items] == [f"i{item}" for item in items[0]]
    assert [one.similarity for one in near.items] == pytest.approx(scores[0].tolist())
    assert not asyncio.run(here.similar("i6", 3)).items, "nobody took it"
    with pytest.raises(Refused) as refused:
        asyncio.run(here.similar("nothing", 3))
    assert refused.value.status == 404
    assert [one.item_id for one in here.titles("TITLE 3").items] == ["i3"]
    assert [one.item_id for one in here.titles("").items] == [f"i{item}" for item in (0, 1, 3, 4, 5, 6, 7)]
    assert not here.titles("x").items and not here.titles("title 33").items


def test_one_snapshot_answers_a_request_to_its_end(ws: Workspace) -> None:
    """A version that is swapped in meanwhile is for the next one."""
    live = Live(live_list(7), 0.05)
    here = endpoint(ws, live=live)
    before = here.snapshot.version

    async def swapped_meanwhile():
        asked = asyncio.create_task(here.recommend(RecommendRequest(user_id="u0")))
        await asyncio.sleep(0.01)
        evaluated(ws, alpha_1=0.9)
        here.versions.look()
        return await asked, await here.recommend(RecommendRequest(user_id="u0"))

    first, second = asyncio.run(swapped_meanwhile())
    assert first.model_version == before != second.model_version
    assert first.alpha == pytest.approx(second.alpha * 5 / 9)
