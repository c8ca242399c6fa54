"""For production the choice is fitted again on the whole log: nothing is held out, as long as was chosen, and only once."""

import numpy as np
import pytest

from longtail.aggregation.artefact import fit_aggregator, read_artefact, read_evaluated
from longtail.aggregation.refit import refit
from longtail.data import read_histories
from longtail.errors import InputError
from longtail.recipe import Recipe, Serving
from longtail.recommenders import build, load
from longtail.recommenders.interactions import Interactions
from longtail.report import report
from longtail.rounds import production_round, rounds
from longtail.schema import PRODUCTION
from longtail.serving.answering.answer import answered
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.stages import run
from longtail.workspace import Workspace, read_manifest

RECIPE = Recipe.model_validate(
    {
        "name": "refitted",
        "dataset": {"source": "simulated", "simulation": {"users": 200, "items": 80}},
        "variants": ["observed"],
        "recommenders": {
            "itemcf": {},
            "bpr": {"dim": 8, "epochs": 12, "validate_every": 2, "patience": 1, "lr_drops": 1},
        },
        "evaluation": {"ks": [10], "seeds": 2, "bootstrap": 20},
    }
)


def serving(**named) -> Recipe:
    return RECIPE.model_copy(update={"serving": Serving(**named)})


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Evaluated; BPR is named, so that epochs were chosen, and its second seed is the better one or not."""
    ws = Workspace(str(tmp_path_factory.mktemp("refitted")), RECIPE.model_dump(mode="json"))
    run(serving(recommender="bpr"), ws)
    refit(serving(recommender="bpr"), ws)
    return ws


def times(ws: Workspace) -> dict[str, float]:
    return {place: manifest["finished"] for place, manifest in ws.manifests().items()}


def test_the_round_of_production_has_places_of_its_own_and_the_llm_that_was_evaluated():
    first, second = production_round(RECIPE), production_round(RECIPE, 1)
    assert [one.folder for one in (first, second)] == ["production/", "seed-1/production/"]
    assert first.data == second.data == "production/data"
    assert [one.llm("generator") for one in (first, second)] == ["llm/generator", "seed-1/llm/generator"]
    again = Recipe.model_validate(RECIPE.model_dump() | {"evaluation": {"retune": True}})
    assert (
        production_round(again).llm("generator")
        == "final/llm/generator"
        == rounds(again)[-1].llm("generator")
    )
    assert first not in rounds(RECIPE) and not first.tests


def test_the_whole_log_is_known(ws: Workspace):
    before, after = (read_histories(ws / place).to_pylist() for place in ("data", "production/data"))
    for old, new in zip(before, after, strict=True):
        assert (new["user_id"], new["items"]) == (old["user_id"], old["items"])
        assert new["train_end"] == new["valid_end"] == len(new["items"])
    counts = read_manifest(ws / "production/data")["counts"]
    assert counts["train"] == counts["interactions"] and counts["valid"] == counts["test"] == 0
    items = (ws / "production/data/items.parquet").read_table()
    taken = np.concatenate([row["items"] for row in after])
    assert items["train_count"].to_pylist() == np.bincount(taken, minlength=items.num_rows).tolist()


def test_the_chosen_fit_is_trained_again_as_long_as_was_chosen(ws: Workspace):
    evaluated, found = read_evaluated(ws), read_artefact(ws)
    assert (found.recommender, found.seed_index, found.ndcg) == ("bpr", evaluated.seed_index, evaluated.ndcg)
    assert found.fit == evaluated.fit.replace("final/", "production/")
    folder = f"seed-{found.seed_index}/" if found.seed_index else ""
    first = read_manifest(ws / f"{folder}recommenders/observed/bpr-{found.seed_index}")
    again = read_manifest(ws / found.fit)
    assert again["counts"]["epochs"] == first["counts"]["best epoch"]
    assert again["settings"]["seed"] == first["settings"]["seed"]
    assert again["counts"]["interactions"] == read_manifest(ws / "data")["counts"]["interactions"]
    fits = [place for place in ws.manifests() if PRODUCTION in place and "recommenders/" in place]
    assert fits == [found.fit], "nothing else is fitted"


def test_it_is_served_and_knows_every_interaction(ws: Workspace):
    here = Snapshot.read(ws, sources_of(ws, Serving()))
    assert here.default.chosen == read_artefact(ws) and here.default.retriever.model.name == "bpr"
    rows = read_histories(ws / "data").to_pylist()
    ranking = here.of_users(np.arange(len(rows)))
    for row, interactions, items in zip(rows, ranking.interactions, ranking.items, strict=True):
        assert interactions == len(row["items"]) and not set(items.tolist()) & set(row["items"])
        answer = answered(RecommendRequest(user_id=row["user_id"]), here)
        assert answer.degraded is None and answer.interactions == interactions, "no list is older"


def test_a_refit_that_is_up_to_date_does_nothing_and_a_part_that_is_lost_is_made_again(ws: Workspace):
    before = times(ws)
    refit(serving(recommender="bpr"), ws)
    assert times(ws) == before
    own = read_artefact(ws).fit
    (ws / own).delete()
    with pytest.raises(InputError, match="longtail refit"):
        read_artefact(ws)
    refit(serving(recommender="bpr"), ws)
    again = times(ws)
    assert {place for place in before if again[place] != before[place]} == {own}


def test_the_report_counts_nothing_of_production(ws: Workspace):
    """The cost of a run is the cost of evaluating it."""
    stages = (ws / "report/metrics.json").read_json()["stages"]
    report(serving(recommender="itemcf"), ws)
    again = (ws / "report/metrics.json").read_json()["stages"]
    assert {name: one["units"] for name, one in stages.items() if name != "evaluate"} == {
        name: one["units"] for name, one in again.items() if name != "evaluate"
    }


def test_another_recipe_than_the_evaluated_one_is_refused(ws: Workspace):
    changed = RECIPE.model_dump()
    changed["recommenders"]["bpr"]["lr"] = 0.5
    with pytest.raises(
        InputError, match=r"recommenders.bpr.lr = 0.5, but it was evaluated with .*longtail run"
    ):
        refit(Recipe.model_validate(changed), ws)
    with pytest.raises(InputError, match=r"dataset.k_core = 3, but it was evaluated with 0"):
        dataset = RECIPE.model_dump()["dataset"] | {"k_core": 3}
        refit(Recipe.model_validate(RECIPE.model_dump() | {"dataset": dataset}), ws)
    others = {"recommenders": {"itemcf": {}}}
    with pytest.raises(InputError, match="recommenders.bpr"):
        refit(Recipe.model_validate(RECIPE.model_dump(exclude={"recommenders"}) | others), ws)
    unlike = RECIPE.model_dump() | {"judge": {"keep": 1}, "serving": {"candidates": 20}}
    refit(Recipe.model_validate(unlike), ws)


def test_without_an_evaluation_there_is_nothing_to_fit_again(tmp_path):
    with pytest.raises(InputError, match="aggregator is missing.*longtail evaluate"):
        refit(RECIPE, Workspace(str(tmp_path)))


def test_the_neighbours_of_the_whole_log(ws: Workspace):
    """Another choice is fitted again beside the first one; ItemCF is the one of all interactions."""
    fit_aggregator(serving(recommender="itemcf"), ws)
    with pytest.raises(InputError, match="older choice"):
        read_artefact(ws)
    refit(serving(recommender="itemcf"), ws)
    found = read_artefact(ws)
    rows = read_histories(ws / "data").to_pylist()
    lengths = np.array([len(row["items"]) for row in rows])
    whole = np.concatenate([row["items"] for row in rows]).astype(np.int32)
    n_items = (ws / "data/items.parquet").read_table().num_rows
    train = Interactions(
        np.r_[0, np.cumsum(lengths)], whole, np.ones(len(whole), np.float32), lengths, n_items=n_items
    )
    twin = build("itemcf", RECIPE.recommenders["itemcf"]).fit(train)
    users = np.arange(len(rows))
    assert load(ws / found.fit).recommend(users, 10)[0].tolist() == twin.recommend(users, 10)[0].tolist()
