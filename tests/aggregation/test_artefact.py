"""The artefact is what was chosen. It is refused if what it names is gone, was made again, or is older than the choice."""

import json
from pathlib import Path

import pytest

from longtail.aggregation.artefact import AGGREGATOR, Artefact, fit_aggregator, fit_evaluated, read_artefact
from longtail.aggregation.choice import FIGURES, Figure, Kind, write_figures
from longtail.aggregation.kinds import ALONE, Bucketed, Inject, Paper
from longtail.errors import InputError
from longtail.recipe import Recipe, Serving
from longtail.schema import PRODUCTION
from longtail.workspace import Workspace, read_manifest
from tests.aggregation.test_choice import figure

RECIPE = Recipe(name="tiny")
PLACES = {"data": "data", "fit": "recommenders/observed/bpr-0", "answers": "augmentation/next_item"}
BUCKETS_OWN = Bucketed((0.9, 0.5, 0.4, 0.1, 0.0), "score")


def named(**serving) -> Recipe:
    return RECIPE.model_copy(update={"serving": Serving(**serving)})


def published(ws: Workspace, place: str, settings: object = None) -> str:
    """Publish a place. Returns its fingerprint."""
    unit = ws.stage(place, settings)
    with unit.publishing():
        pass
    return unit.fingerprint


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """BPR alone, and better fused in buckets."""
    ws = Workspace(str(tmp_path))
    made_of = {place: published(ws, place) for place in PLACES.values()}
    kinds = {"paper": Kind(Paper(0.5, 0.1), 0.2), "bucketed": Kind(BUCKETS_OWN, 0.4)}
    alone = figure("bpr", "observed", 0.1, made_of={name: made_of[name] for name in ("data", PLACES["fit"])})
    evaluated(ws, alone, figure("bpr", "served", 0.4, fusion=BUCKETS_OWN, kinds=kinds, made_of=made_of))
    return ws


def evaluated(ws: Workspace, *figures: Figure) -> None:
    with ws.stage(FIGURES, [one.written() for one in figures]).publishing() as draft:
        write_figures([*figures], draft)


def test_what_validation_chose_is_written_and_read(ws: Workspace) -> None:
    fit_aggregator(RECIPE, ws)
    found = read_artefact(ws)
    assert (found.recommender, found.variant, found.list) == ("bpr", "observed", "next_item")
    assert found.fusion == BUCKETS_OWN and found.kinds["paper"] == Kind(Paper(0.5, 0.1), 0.2)
    assert {name: getattr(found, name) for name in PLACES} == PLACES
    assert set(found.made_of) == {*PLACES.values()}
    assert (found.users, found.ndcg, found.chosen_by, found.refitted) == (9, 0.4, "validation", None)
    told = json.loads((ws / AGGREGATOR / "aggregator.json").read_bytes())
    assert told["fusion"] == {"kind": "bucketed", "weights": [0.9, 0.5, 0.4, 0.1, 0.0], "utility": "score"}


def test_what_the_recipe_names_is_written_and_must_stay_so(ws: Workspace) -> None:
    recipe = named(kind="paper", candidates=30)
    fit_aggregator(recipe, ws)
    found = read_artefact(ws)
    assert (found.fusion, found.ndcg, found.chosen_by, found.candidates) == (
        Paper(0.5, 0.1),
        0.2,
        "recipe",
        50,
    )
    found.check_named(recipe.serving)
    found.check_named(Serving(recommender="bpr", variant="observed", alpha_1=0.5))
    for serving in ({"kind": "inject"}, {"alpha_2": 0.3}, {"list": "none"}, {"recommender": "swing"}):
        (name,) = serving
        with pytest.raises(InputError, match=rf"serving\.{name} = .*longtail fit-aggregator"):
            found.check_named(Serving(**serving))
    fit_aggregator(named(list="none"), ws)
    alone = read_artefact(ws)
    assert (alone.list, alone.fusion, alone.answers, alone.kinds) == (None, ALONE, None, {})
    alone.check_named(Serving(list="none"))


def test_the_version_is_that_of_what_answers(ws: Workspace) -> None:
    """The same choice, however it was made, has the same version; another fusion or another fit has another one."""
    fit_aggregator(RECIPE, ws)
    chosen = read_artefact(ws)
    fit_aggregator(named(kind="bucketed"), ws)
    assert read_artefact(ws).version == chosen.version
    fit_aggregator(named(kind="paper"), ws)
    assert read_artefact(ws).version != chosen.version


def test_it_is_made_again_only_if_figures_or_the_recipe_changed(ws: Workspace) -> None:
    fit_aggregator(RECIPE, ws)
    finished = read_manifest(ws / AGGREGATOR)["finished"]
    fit_aggregator(RECIPE, ws)
    assert read_manifest(ws / AGGREGATOR)["finished"] == finished
    evaluated(ws, figure("bpr", "observed", 0.7, made_of={}))
    fit_aggregator(RECIPE, ws)
    assert read_artefact(ws).ndcg == 0.7


@pytest.mark.parametrize("place", PLACES.values())
def test_what_was_made_again_since_is_not_served(ws: Workspace, place: str) -> None:
    fit_aggregator(RECIPE, ws)
    published(ws, place, "again")
    with pytest.raises(InputError, match=f"{place} was published again.*longtail evaluate"):
        read_artefact(ws)
    (ws / place).delete()
    with pytest.raises(InputError, match=f"{place} is missing"):
        read_artefact(ws)


def test_without_an_artefact_the_command_is_named(ws: Workspace) -> None:
    with pytest.raises(InputError, match="aggregator is missing.*longtail evaluate"):
        read_artefact(ws)
    (ws / FIGURES).delete()
    with pytest.raises(InputError, match="longtail evaluate"):
        fit_aggregator(RECIPE, ws)


def test_an_evaluation_after_which_nothing_can_be_chosen_leaves_no_artefact(ws: Workspace, caplog) -> None:
    fit_evaluated(RECIPE, ws)
    assert read_artefact(ws).recommender == "bpr"
    evaluated(ws, figure("bpr", "observed", None))
    fit_evaluated(RECIPE, ws)
    assert "Nothing can be served" in caplog.text and not (ws / AGGREGATOR).exists()
    with pytest.raises(InputError, match="no user has a validation item"):
        fit_aggregator(RECIPE, ws)


def refitted(ws: Workspace, **changes) -> None:
    """What `refit` leaves, of the present choice."""
    made_of = {PRODUCTION + place: published(ws, PRODUCTION + place) for place in PLACES.values()}
    chosen = vars(read_artefact(ws)) | {name: PRODUCTION + place for name, place in PLACES.items()}
    own = {"made_of": made_of, "refitted": read_manifest(ws / AGGREGATOR)["fingerprint"]} | changes
    with ws.stage(PRODUCTION + AGGREGATOR, None).publishing() as draft:
        Artefact(**chosen | own).write(draft)


def test_what_was_fitted_on_the_whole_log_is_preferred(ws: Workspace) -> None:
    fit_aggregator(RECIPE, ws)
    version = read_artefact(ws).version
    refitted(ws)
    found = read_artefact(ws)
    assert found.fit == "production/recommenders/observed/bpr-0" and found.version != version
    published(ws, found.fit, "again")
    with pytest.raises(InputError, match="longtail refit"):
        read_artefact(ws)


def test_an_older_choice_fitted_again_is_refused(ws: Workspace) -> None:
    fit_aggregator(RECIPE, ws)
    refitted(ws)
    fit_aggregator(named(kind="paper"), ws)
    with pytest.raises(InputError, match="older choice.*longtail refit again, or remove"):
        read_artefact(ws)
    (ws / AGGREGATOR).delete()
    assert read_artefact(ws).fusion == BUCKETS_OWN, "production is enough to serve from"


@pytest.mark.parametrize("fusion", [Paper(0.5, 0.1, "score"), Inject(2, 3), ALONE])
def test_every_kind_is_read_as_it_was_written(ws: Workspace, fusion) -> None:
    fit_aggregator(RECIPE, ws)
    with ws.stage("elsewhere", None).publishing() as draft:
        written = Artefact(**vars(read_artefact(ws)) | {"fusion": fusion})
        written.write(draft)
    assert Artefact.read(ws / "elsewhere") == written
