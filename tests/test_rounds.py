"""Everything is chosen on the validation items; then they are known, and the test is one step ahead."""

import numpy as np
import pytest

from longtail.data import read_histories
from longtail.data.catalogue import item_slices
from longtail.recipe import Recipe
from longtail.recommenders import build, load
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.training.fits import Run, ServedRun, runs, served_runs
from longtail.rounds import FIRST_ROUND, Round, first_round, last_round, rounds
from longtail.stages import run
from longtail.workspace import Workspace, read_manifest

SIMULATED = {"source": "simulated", "simulation": {"users": 300, "items": 120}}
RECIPE = Recipe.model_validate(
    {
        "name": "rounds",
        "dataset": SIMULATED,
        "variants": ["observed"],
        "recommenders": {
            "itemcf": {},
            "bpr": {"dim": 8, "epochs": 12, "validate_every": 2, "patience": 1, "lr_drops": 1},
        },
        "evaluation": {"ks": [10], "seeds": 2, "bootstrap": 20},
    }
)


def recipe(**changes) -> Recipe:
    return Recipe.model_validate(RECIPE.model_dump() | changes)


def test_a_round_says_where_its_places_are_and_whose_choices_it_takes():
    found = rounds(RECIPE)
    assert [one.folder for one in found] == ["", "final/", "seed-1/", "seed-1/final/"]
    assert [one.data for one in found] == ["data", "final/data"] * 2
    assert [one.llm("generator") for one in found] == ["llm/generator"] * 2 + ["seed-1/llm/generator"] * 2
    assert [one.tests for one in found] == [False, True] * 2
    assert [first_round(one) for one in found] == [found[0], found[0], found[2], found[2]]
    assert last_round(RECIPE) == found[1] and last_round(RECIPE, 1) == found[3]
    assert [one.seeded(RECIPE).seed for one in found] == [7, 7, 8, 8]


def test_with_train_only_there_is_one_round_that_chooses_and_tests():
    alone = recipe(evaluation={"protocol": "train-only"})
    assert rounds(alone) == [FIRST_ROUND] == [first_round(FIRST_ROUND)] == [last_round(alone)]
    assert Round(0, final=False, tests=True) == FIRST_ROUND


def test_an_llm_that_is_tuned_again_has_a_place_of_its_own():
    found = rounds(recipe(evaluation={"retune": True, "seeds": 2}))
    places = [one.llm("generator") for one in found]
    assert places == [f"{folder}llm/generator" for folder in ("", "final/", "seed-1/", "seed-1/final/")]


def test_a_seed_repeats_only_what_it_changes():
    chosen = {"itemcf": {"variants": ["observed", "popular"]}, "bpr": {"variants": ["observed"]}}
    twice = recipe(recommenders=chosen, variants=["observed", "popular", "generated"])
    first, second = Round(0, final=True), Round(1, final=True)
    assert runs(twice, first) == [
        Run("itemcf", "observed", first),
        Run("itemcf", "popular", first),
        Run("bpr", "observed", first),
    ]
    assert runs(twice, second) == [Run("itemcf", "popular", second), Run("bpr", "observed", second)]
    assert runs(twice, second)[1].place == "seed-1/final/recommenders/observed/bpr-1"
    assert runs(twice, second)[1].evaluation == "seed-1/final/evaluation/observed/bpr-1"
    served = [one for one in served_runs(twice, second) if one.variant == "served"]
    assert served == [
        ServedRun(Run("itemcf", "observed", first), "served", second),
        ServedRun(Run("bpr", "observed", second), "served", second),
    ]
    assert served[0].evaluation == "seed-1/final/evaluation/served/itemcf-1"


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("rounds")), RECIPE.model_dump(mode="json"))
    run(RECIPE, ws)
    return ws


def test_in_the_final_round_the_validation_items_are_training_items(ws: Workspace):
    first, final = (read_histories(ws / place).to_pylist() for place in ("data", "final/data"))
    assert len(first) == len(final)
    for before, after in zip(first, final, strict=True):
        assert after["items"] == before["items"] and after["timestamps"] == before["timestamps"]
        assert after["train_end"] == after["valid_end"] == before["valid_end"]
        few, many = after["train_end"] <= 5, after["train_end"] >= 20
        assert after["slice"] == ("sparse" if few else "active" if many else "regular")
    items = (ws / "final/data/items.parquet").read_table()
    known = [item for row in final for item in row["items"][: row["train_end"]]]
    counts = np.bincount(known, minlength=items.num_rows)
    assert items["train_count"].to_pylist() == counts.tolist()
    assert items["slice"].to_pylist() == item_slices(counts, 5, 0.2).tolist()
    told, before = (read_manifest(ws / place)["counts"] for place in ("final/data", "data"))
    assert told["train"] == before["train"] + before["valid"] and told["valid"] == 0
    assert told["test"] == before["test"] and told["items"] == before["items"]


def test_the_final_fit_knows_what_was_validated_and_masks_it(ws: Workspace):
    rows = read_histories(ws / "final/data").to_pylist()
    known = [row["items"][: row["valid_end"]] for row in rows]
    train = Interactions(
        indptr=np.cumsum([0, *map(len, known)]),
        items=np.concatenate(known).astype(np.int32),
        weights=np.ones(sum(map(len, known)), np.float32),
        observed=np.array([len(own) for own in known]),
        n_items=(ws / "data/items.parquet").read_table().num_rows,
    )
    twin = build("itemcf", RECIPE.recommenders["itemcf"]).fit(train)
    users = np.arange(len(rows))
    lists = load(ws / "final/recommenders/observed/itemcf-0").recommend(users, 10)[0]
    assert lists.tolist() == twin.recommend(users, 10)[0].tolist()
    assert not any(set(own) & set(found) for own, found in zip(known, lists.tolist(), strict=True))
    ranks = (ws / "final/evaluation/observed/itemcf-0/ranks").read_table().to_pylist()
    tested = {
        row["user"]: row["items"][row["valid_end"]] for row in rows if row["valid_end"] < len(row["items"])
    }
    assert {row["user"]: row["item"] for row in ranks} == tested
    for row in ranks:
        found = lists[row["user"]].tolist()
        assert (
            row["rank"] == (found.index(row["item"]) + 1 if row["item"] in found else 0) or row["rank"] > 10
        )


@pytest.mark.parametrize("folder", ["", "seed-1/"])
def test_the_final_fit_trains_as_long_as_was_chosen(ws: Workspace, folder: str):
    seed = 1 if folder else 0
    first, final = (
        read_manifest(ws / f"{folder}{part}recommenders/observed/bpr-{seed}") for part in ("", "final/")
    )
    assert first["counts"]["validation NDCG@10"] > 0 and "validation NDCG@10" not in final["counts"]
    assert final["counts"]["epochs"] == final["counts"]["best epoch"] == first["counts"]["best epoch"]
    drops = [epoch for epoch in first["counts"]["lr drops"] if epoch < first["counts"]["best epoch"]]
    assert final["settings"]["schedule"] == {"epochs": first["counts"]["best epoch"], "lr_drops": drops}
    assert first["settings"]["seed"] == final["settings"]["seed"] == 7 + seed


def test_nothing_is_ranked_on_the_test_before_all_is_chosen(ws: Workspace):
    assert not (ws / "evaluation/observed/itemcf-0/ranks").exists()
    chosen, tested = (
        read_manifest(ws / f"{part}evaluation/observed/itemcf-0")["counts"] for part in ("", "final/")
    )
    assert chosen == {"validation": tested["validation"]} and tested["targets"] > 0


def test_the_report_has_the_test_of_the_final_round_and_every_stage(ws: Workspace):
    metrics = (ws / "report/metrics.json").read_json()
    observed = [row for row in metrics["rows"] if row["slice"] == "all" and row["metric"] == "recall"]
    ranks = (ws / "final/evaluation/observed/itemcf-0/ranks").read_table()["rank"].to_numpy()
    (itemcf,) = (row for row in observed if row["recommender"] == "itemcf")
    assert itemcf["value"] == pytest.approx(((ranks > 0) & (ranks <= 10)).mean())
    assert metrics["stages"]["train"]["units"] == len(
        [one for one in ws.manifests() if "recommenders/" in one]
    )
    assert metrics["dataset"]["valid"] == 0


def test_what_is_up_to_date_is_not_made_again(ws: Workspace):
    before = {place: manifest["finished"] for place, manifest in ws.manifests().items()}
    run(RECIPE, ws)
    assert before == {place: manifest["finished"] for place, manifest in ws.manifests().items()}
