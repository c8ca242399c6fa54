"""The stage: one published unit for every recommender, variant and seed, made once, from the fused sets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from app.errors import InputError
from app.recipe import Recipe
from app.recommenders import build, load, train
from app.schema import FUSED
from app.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, clusters


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace with two fused variants of the clusters, in two files each and not in user order."""
    made = Workspace(str(tmp_path))
    with made.stage("data", {}).publishing() as draft:
        (draft / "items.parquet").write_table(pa.table({"item": np.arange(24, dtype=np.int32)}))
    for variant, part in (("observed", 6), ("generated", 8)):
        rows = _rows(part)
        with made.stage(f"fused/{variant}", {}, [made / "data"]).publishing() as draft:
            for name, some in (("a", rows[30:]), ("b", rows[:30])):
                (draft / f"interactions/{name}.parquet").write_table(pa.Table.from_pylist(some, FUSED))
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


def _recipe(**changes: object) -> Recipe:
    names = ("itemcf", "swing", "bpr")
    sections = {name: SECTIONS[name].model_dump(exclude={"variants"}) for name in names}
    sections["bpr"]["variants"] = ["observed"]
    values = {"name": "x", "seed": 3, "variants": ["observed", "generated"], "recommenders": sections}
    return Recipe.model_validate(values | {"evaluation": {"seeds": 2}} | changes)


def test_every_unit_is_published_once(ws: Workspace, ray_here: None) -> None:
    train(_recipe(), ws)
    made = {place: manifest for place, manifest in ws.manifests().items() if place.startswith("recommenders/")}
    assert sorted(made) == [
        "recommenders/generated/itemcf-0",
        "recommenders/generated/swing-0",
        "recommenders/observed/bpr-0",
        "recommenders/observed/bpr-1",
        "recommenders/observed/itemcf-0",
        "recommenders/observed/swing-0",
    ]
    counts = made["recommenders/generated/itemcf-0"]["counts"]
    assert (counts["users"], counts["items"], counts["interactions"], counts["generated"]) == (60, 24, 472, 118)
    assert made["recommenders/observed/bpr-0"]["counts"].keys() >= {"seconds per epoch", "final_loss"}

    train(_recipe(), ws)
    assert {place: ws.manifests()[place] for place in made} == made, "nothing was made again"
    assert not [info.path for info in ws.root.files() if ".draft-" in info.path]


def test_a_published_model_is_the_one_fitted_here(ws: Workspace, ray_here: None) -> None:
    recipe = _recipe()
    train(recipe, ws)
    users = np.arange(60)
    here = build("itemcf", recipe.recommenders.itemcf).fit(clusters())
    np.testing.assert_array_equal(
        load(ws / "recommenders/generated/itemcf-0").recommend(users, 6), here.recommend(users, 6)
    )
    lists = [load(ws / f"recommenders/observed/bpr-{s}").recommend(users, 6)[0] for s in (0, 1)]
    assert (lists[0] != lists[1]).any(), "seeds differ"


def test_a_missing_training_set_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longtail fuse|longtail prepare"):
        train(_recipe(), Workspace(str(tmp_path)))


def test_a_fault_of_the_recipe_comes_back_as_one_message(ws: Workspace, ray_here: None) -> None:
    sections = {"bpr": {"lr": 1e30, "epochs": 20, "dim": 4}}
    with pytest.raises(InputError, match="recommenders.bpr: the loss .* lower lr") as caught:
        train(_recipe(recommenders=sections), ws)
    assert "Traceback" not in str(caught.value)
    assert not [place for place in ws.manifests() if place.startswith("recommenders/")]
