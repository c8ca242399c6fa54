"""What an arm serves, and what is refused because nobody has evaluated or fitted it."""

from dataclasses import replace
from pathlib import Path

import pytest

from longtail.aggregation.arm_artefacts import read_arms
from longtail.aggregation.artefact import AGGREGATOR, fit_aggregator, read_artefact
from longtail.aggregation.choice import Kind
from longtail.aggregation.kinds import ALONE, Paper, Uniform
from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.schema import PRODUCTION
from longtail.workspace import Workspace, read_manifest
from tests.aggregation.test_artefact import BUCKETS_OWN, PLACES, RECIPE, evaluated, published
from tests.aggregation.test_choice import figure


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """BPR and Swing, alone and fused; BPR fused in buckets is the best."""
    ws = Workspace(str(tmp_path))
    swing = "recommenders/observed/swing-0"
    made_of = {place: published(ws, place) for place in (*PLACES.values(), swing)}

    def made(*places: str) -> dict[str, str]:
        return {place: made_of[place] for place in places}

    kinds = {
        "paper": Kind(Paper(0.5, 0.1), 0.2),
        "uniform": Kind(Uniform(0.3), 0.3),
        "bucketed": Kind(BUCKETS_OWN, 0.4),
    }
    evaluated(
        ws,
        figure("bpr", "observed", 0.1, made_of=made("data", PLACES["fit"])),
        figure("swing", "observed", 0.15, made_of=made("data", swing)),
        figure("bpr", "served", 0.4, fusion=BUCKETS_OWN, kinds=kinds, made_of=made(*PLACES.values())),
    )
    fit_aggregator(RECIPE, ws)
    return ws


def two(**other: object) -> Serving:
    return Serving(arms={"a": {"share": 0.5}, "b": {"share": 0.5, "serving": other}})


def test_without_arms_the_artefact_is_the_only_one(ws: Workspace) -> None:
    assert read_arms(ws, Serving()) == {"default": read_artefact(ws)}


@pytest.mark.parametrize(
    ("other", "fusion"),
    [
        ({}, BUCKETS_OWN),
        ({"kind": "bucketed"}, BUCKETS_OWN),
        ({"kind": "uniform"}, Uniform(0.3)),
        ({"kind": "paper"}, Paper(0.5, 0.1)),
        ({"kind": "paper", "alpha_1": 0.9}, Paper(0.9, 0.1)),
        ({"alpha_2": 0.7, "utility": "score"}, Paper(0.5, 0.7, "score")),
        ({"recommender": "bpr", "list": "next_item", "kind": "uniform"}, Uniform(0.3)),
    ],
)
def test_an_arm_may_fuse_in_another_way(ws: Workspace, other: dict, fusion: object) -> None:
    arms = read_arms(ws, two(**other))
    assert list(arms) == ["a", "b"] and arms["a"].fusion == BUCKETS_OWN
    assert replace(arms["b"], fusion=BUCKETS_OWN, named={}) == replace(arms["a"], named={})
    assert arms["b"].fusion == fusion


def test_an_arm_may_leave_the_list_out(ws: Workspace) -> None:
    alone = read_arms(ws, two(list="none"))["b"]
    assert (alone.fit, alone.list, alone.answers, alone.fusion) == (PLACES["fit"], None, None, ALONE)
    assert set(alone.made_of) == {"data", PLACES["fit"]}


def test_an_arm_may_have_another_recommender_that_was_evaluated(ws: Workspace) -> None:
    swing = read_arms(ws, two(recommender="swing"))["b"]
    assert (swing.recommender, swing.fit, swing.list) == ("swing", "recommenders/observed/swing-0", None)
    published(ws, "recommenders/observed/swing-0", "another one")
    with pytest.raises(InputError, match="published again"):
        read_arms(ws, two(recommender="swing"))


def test_an_arm_may_have_fewer_candidates_but_not_more(ws: Workspace) -> None:
    arms = read_arms(ws, two(candidates=10))
    assert (arms["a"].candidates, arms["b"].candidates) == (50, 10)
    with pytest.raises(InputError, match=r"arms\.b: candidates = 60, but 50 were evaluated"):
        read_arms(ws, two(candidates=60))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {"kind": "inject"},
            "arms.b: kind = 'inject' was not evaluated. Evaluated: paper, uniform, bucketed",
        ),
        ({"recommender": "swing", "list": "next_item"}, "nothing of the kind was evaluated"),
    ],
)
def test_what_was_not_evaluated_is_refused(ws: Workspace, other: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_arms(ws, two(**other))


def test_after_a_refit_arms_may_differ_in_how_lists_are_fused(ws: Workspace) -> None:
    evaluated_as = read_manifest(ws / AGGREGATOR)["fingerprint"]
    refitted = replace(read_artefact(ws), refitted=evaluated_as)
    with ws.stage(PRODUCTION + AGGREGATOR, None).publishing() as draft:
        refitted.write(draft)
    assert read_arms(ws, two(kind="uniform"))["b"].fusion == Uniform(0.3)
    assert read_arms(ws, two(list="none"))["b"].list is None
    with pytest.raises(InputError, match="than longtail refit has fitted"):
        read_arms(ws, two(recommender="swing"))


def test_what_all_arms_have_in_common_must_be_what_was_fitted(ws: Workspace) -> None:
    with pytest.raises(InputError, match=r"serving\.kind = 'paper'"):
        read_arms(ws, two().model_copy(update={"kind": "paper"}))
