"""The stage: one published unit for every recommender, variant and seed, made once, from the fused sets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.recommenders import build, load, train
from longtail.schema import FUSED, HISTORIES
from longtail.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, clusters


@pytest.fixture(scope="module")
def trained(ws: Workspace, ray_here: None) -> Workspace:
    train(_recipe(), ws)
    return ws


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two fused variants of the clusters, in two files each and not in user order."""
    made = Workspace(str(tmp_path_factory.mktemp("run")))
    with made.stage("data", {}).publishing() as draft:
        (draft / "items.parquet").write_table(pa.table({"item": np.arange(24, dtype=np.int32)}))
        (draft / "histories/a.parquet").write_table(pa.Table.from_pylist(_histories(), HISTORIES))
    for name, part in (("fused/observed", 6), ("fused/generated", 8), ("seed-1/fused/generated", 8)):
        rows = _rows(part)
        with made.stage(name, {}, [made / "data"]).publishing() as draft:
            for file, some in (("a", rows[30:]), ("b", rows[:30])):
                (draft / f"interactions/{file}.parquet").write_table(pa.Table.from_pylist(some, FUSED))
    return made


def _rows(part: int) -> list[dict]:
    whole = clusters()
    return [
        {
            "user": user,
            "items": whole.items[start : min(start + part, end)].tolist(),
            "weights": whole.weights[start : min(start + part, end)].tolist(),
            "observed": int(whole.observed[user]),
        }
        for user, (start, end) in enumerate(zip(whole.indptr[:-1], whole.indptr[1:], strict=True))
    ]


def _histories() -> list[dict]:
    """The observed part trains; the first generated item is what validates."""
    whole = clusters()
    return [
        {
            "user": user,
            "user_id": f"u{user}",
            "items": whole.items[start : min(start + 7, end)].tolist(),
            "train_end": int(whole.observed[user]),
            "valid_end": int(min(7, end - start)),
            "slice": "sparse",
        }
        for user, (start, end) in enumerate(zip(whole.indptr[:-1], whole.indptr[1:], strict=True))
    ]


def _recipe(**changes: object) -> Recipe:
    names = ("itemcf", "swing", "bpr")
    sections = {name: SECTIONS[name].model_dump(exclude={"variants"}) for name in names}
    sections["bpr"]["variants"] = ["observed"]
    values = {"name": "x", "seed": 3, "variants": ["observed", "generated"], "recommenders": sections}
    return Recipe.model_validate(values | {"evaluation": {"seeds": 2, "protocol": "train-only"}} | changes)


def test_every_unit_is_published_once(trained: Workspace) -> None:
    made = {place: manifest for place, manifest in trained.manifests().items() if "recommenders/" in place}
    assert sorted(made) == [
        "recommenders/generated/itemcf-0",
        "recommenders/generated/swing-0",
        "recommenders/observed/bpr-0",
        "recommenders/observed/itemcf-0",
        "recommenders/observed/swing-0",
        "seed-1/recommenders/generated/itemcf-1",
        "seed-1/recommenders/generated/swing-1",
        "seed-1/recommenders/observed/bpr-1",
    ]
    counts = made["recommenders/generated/itemcf-0"]["counts"]
    assert (counts["users"], counts["items"], counts["interactions"], counts["generated"]) == (
        60,
        24,
        472,
        118,
    )
    assert made["recommenders/observed/bpr-0"]["counts"].keys() >= {
        "seconds per epoch",
        "final_loss",
        "validation NDCG@10",
    }

    train(_recipe(), trained)
    again = trained.manifests()
    assert {place: again[place] for place in made} == made, "nothing was made again"
    assert not [file.path for file in trained.root.files() if ".draft-" in file.path]


def test_a_published_model_is_the_one_fitted_here(trained: Workspace) -> None:
    users, recipe = np.arange(60), _recipe()
    here = build("itemcf", recipe.recommenders["itemcf"]).fit(clusters())
    there = load(trained / "recommenders/generated/itemcf-0")
    np.testing.assert_array_equal(there.recommend(users, 6), here.recommend(users, 6))
    places = ("recommenders/observed/bpr-0", "seed-1/recommenders/observed/bpr-1")
    lists = [load(trained / place).recommend(users, 6)[0] for place in places]
    assert (lists[0] != lists[1]).any(), "seeds differ"


def test_a_missing_training_set_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longtail fuse|longtail prepare"):
        train(_recipe(), Workspace(str(tmp_path)))


def test_a_fault_of_the_recipe_comes_back_as_one_message(ws: Workspace, ray_here: None) -> None:
    sections = {"bpr": {"lr": 1e30, "epochs": 20, "dim": 4}}
    recipe = _recipe(
        recommenders=sections, variants=["observed"], evaluation={"protocol": "train-only"}, seed=99
    )
    with pytest.raises(InputError, match="recommenders.bpr: the loss .* lower lr") as caught:
        train(recipe, ws)
    assert "Traceback" not in str(caught.value)
    published = ws.manifests().get("recommenders/observed/bpr-0", {"settings": {}})
    assert published["settings"].get("lr") != 1e30
