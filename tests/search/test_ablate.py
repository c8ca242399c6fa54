"""The ablation: points share what they have in common, a point is what a run of its own gives, and a rerun continues."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from longtail.cli import main
from longtail.errors import InputError
from longtail.recipe import GridPoint, Recipe, load_grid, load_recipe
from longtail.search.ablate import Ablation, ablate
from longtail.search.ablation_cost import requests_of, seconds_of
from longtail.stages import measure
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

RECIPE = """name: tiny
dataset: {simulation: {users: 120, items: 60, tastes: 4, mean_history: 9}}
variants: [observed]
recommenders: {itemcf: {}, popularity: {}}
evaluation: {bootstrap: 200}
"""
VARIED = ["recommenders.itemcf.recency=.5,1", "dataset.history_max=2,null"]
NAMES = [
    f"recommenders.itemcf.recency-{recency}_dataset.history_max-{most}"
    for recency in ("0.5", "1")
    for most in ("2", "null")
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def grid(path: Path) -> list[GridPoint]:
    return load_grid(path, None, VARIED)


@pytest.fixture(scope="module")
def ablated(
    tmp_path_factory: pytest.TempPathFactory, path: Path, grid: list[GridPoint], ray_here: None
) -> tuple[Workspace, Ablation]:
    recipe = load_recipe(path)
    ws = Workspace.of_run(str(tmp_path_factory.mktemp("run")), recipe.model_dump(mode="json"))
    return ws, ablate(recipe, ws, grid, measure)


def points(ws: Workspace) -> dict[str, dict[str, dict]]:
    """The manifests of each point."""
    return {name: Workspace((ws / f"ablation/points/{name}").uri).manifests() for name in NAMES}


def rows(place: Place) -> list[dict]:
    return (place / "table.parquet").read_table().to_pylist()


def test_a_unit_is_made_once_and_taken_over_by_all_that_would_make_the_same(ablated):
    made, taken = {}, 0
    for point, manifests in points(ablated[0]).items():
        for name, one in manifests.items():
            if origin := one.get("taken_from"):
                taken += 1
                assert read_manifest(ablated[0] / origin)["fingerprint"] == one["fingerprint"]
            else:
                assert made.setdefault((name, one["fingerprint"]), point) == point
    assert taken
    for manifests in points(ablated[0]).values():
        assert len(manifests) == len(points(ablated[0])[NAMES[0]]), "every point has all of its own"
    data = [one["data"]["fingerprint"] for one in points(ablated[0]).values()]
    assert data[0] == data[2] != data[1] == data[3]
    first, _, third, _ = points(ablated[0]).values()
    assert "taken_from" in third["data"] and "taken_from" in third["evaluation/observed/popularity-0"]
    assert "taken_from" not in third["evaluation/observed/itemcf-0"]


def test_what_is_taken_over_takes_no_space(ablated):
    files = [ablated[0] / f"ablation/points/{NAMES[place]}/data/items.parquet" for place in (0, 2, 1)]
    one, same, other = (os.stat(file.path).st_ino for file in files)
    assert one == same != other


def test_the_lease_of_the_run_covers_all_points(ablated):
    assert not [
        file for file in ablated[0].root.contents() if "/ablation/" in file.path and "_lease" in file.path
    ]


def test_a_point_is_what_a_run_of_its_own_gives(ablated, grid, tmp_path):
    """Point 3 takes over half of its stages."""
    alone = Workspace(str(tmp_path / "alone"))
    measure(grid[2].recipe, alone)
    place = "final/evaluation/observed/itemcf-0/ranks"
    taken = ablated[0] / f"ablation/points/{NAMES[2]}/{place}"
    own, found = (one.read_table().sort_by("user") for one in (alone / place, taken))
    assert own.num_rows and own.equals(found)
    found = {
        (row["recommender"], row["metric"]): row["value"]
        for row in rows(ablated[1].place)
        if row["point"] == NAMES[2] and row["slice"] == "all"
    }
    for name in ("itemcf", "popularity"):
        rank = (alone / f"final/evaluation/observed/{name}-0/ranks").read_table()["rank"].to_numpy()
        assert found[name, "recall"] == pytest.approx(((rank > 0) & (rank <= 10)).mean())


def test_a_point_is_compared_with_the_first_one_user_by_user(ablated):
    ws, ablation = ablated
    place = "final/evaluation/observed/itemcf-0/ranks"
    hits = []
    for name in (NAMES[1], NAMES[0]):
        table = (ws / f"ablation/points/{name}/{place}").read_table().sort_by("user")
        hits.append(((table["rank"].to_numpy() > 0) & (table["rank"].to_numpy() <= 10)).astype(float))
    found = [
        row
        for row in rows(ablation.place)
        if (row["recommender"], row["slice"], row["metric"]) == ("itemcf", "all", "recall")
    ]
    assert [row["point"] for row in found] == NAMES
    assert found[0]["over_first"] is None
    assert found[1]["over_first"] == pytest.approx((hits[0] - hits[1]).mean())
    error = (hits[0] - hits[1]).std(ddof=1) / np.sqrt(len(hits[0]))
    assert found[1]["over_first_high"] - found[1]["over_first_low"] == pytest.approx(
        2 * 1.96 * error, rel=0.25
    )
    unmoved = [
        row for row in rows(ablation.place) if row["recommender"] == "popularity" and row["point"] == NAMES[2]
    ]
    assert unmoved and all(row["over_first"] == row["over_first_low"] == 0 for row in unmoved)


def test_the_table_has_every_point_and_slice_with_its_cost(ablated):
    table = (ablated[1].place / "table.parquet").read_table()
    assert table.schema.field("recommenders.itemcf.recency").type == pa.float64()
    assert table.schema.field("dataset.history_max").type == pa.string(), "null is not a number"
    found = {(row["point"], row["recommender"], row["slice"], row["metric"]) for row in table.to_pylist()}
    assert len(found) == table.num_rows
    assert {one[0] for one in found} == set(NAMES)
    assert {one[2] for one in found} == {"all", "items:tail", "users:sparse"}
    assert not pc.sum(table["requests"]).as_py()
    alone = {row["point"]: row["seconds_alone"] for row in table.to_pylist()}
    own = points(ablated[0])
    used = [(name, one["fingerprint"]) for manifests in own.values() for name, one in manifests.items()]
    for point, manifests in own.items():
        mine = [
            one["seconds"] for name, one in manifests.items() if used.count((name, one["fingerprint"])) == 1
        ]
        assert alone[point] == pytest.approx(sum(mine), abs=1e-2)
    csv = (ablated[1].place / "table.csv").read_bytes().decode().splitlines()
    assert len(csv) == table.num_rows + 1
    assert (ablated[1].place / "curves/itemcf.png").read_bytes().startswith(b"\x89PNG")
    page = (ablated[1].place / "index.html").read_bytes().decode()
    assert "recommenders.itemcf.recency × dataset.history_max" in page and page.count("<img") == 2


def test_the_run_itself_does_not_count_the_points(ablated):
    assert set(ablated[0].manifests()) == {"ablation/recommenders.itemcf.recency+dataset.history_max"}


def finished(ws: Workspace) -> dict[str, float]:
    return {
        f"{point}/{name}": one["finished"]
        for point, found in points(ws).items()
        for name, one in found.items()
    }


def test_a_second_call_makes_nothing_and_one_that_was_cut_off_continues(tmp_path, path, grid, ray_here):
    recipe, left = load_recipe(path), iter([1, 1, 0])
    ws = Workspace.of_run(str(tmp_path / "run"), recipe.model_dump(mode="json"))

    def cut_off(own: Recipe, inner: Workspace) -> None:
        if not next(left):
            raise KeyboardInterrupt
        measure(own, inner)

    with pytest.raises(KeyboardInterrupt):
        ablate(recipe, ws, grid, cut_off)
    before = finished(ws)
    assert before and not (ws / "ablation").files("table.parquet")
    place = ablate(recipe, ws, grid, measure).place
    after, table = finished(ws), read_manifest(place)
    assert before.items() < after.items()
    ablate(recipe, ws, grid, measure)
    assert finished(ws) == after and read_manifest(place) == table


def test_what_the_run_has_made_is_taken_over(tmp_path, path, ray_here):
    recipe = load_recipe(path)
    ws = Workspace.of_run(str(tmp_path / "run"), recipe.model_dump(mode="json"))
    measure(recipe, ws)
    ablation = ablate(recipe, ws, load_grid(path, None, ["recommenders.itemcf.recency=1"]), measure)
    inner = Workspace((ws / "ablation/points/recommenders.itemcf.recency-1").uri).manifests()
    assert inner and all(one["taken_from"] == name for name, one in inner.items())
    assert {row["seconds_alone"] for row in rows(ablation.place)} == {0.0}
    (ws / "data").delete()
    assert (ws / "ablation/points/recommenders.itemcf.recency-1/data/items.parquet").read_table().num_rows


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        (
            ["recommenders.itemcf.recncy=1,2"],
            "unknown key 'recommenders.itemcf.recncy': did you mean 'recency'?",
        ),
        (["judge.weight=.5,1.5", "seed=1,2"], "judge.weight = 1.5"),
        (["judge.weight"], "section.key=value,value"),
        (["judge.weight="], "give at least one value"),
        (["judge.weight=.5,0.5"], "0.5 is given twice"),
        (["seed=1", "seed=2"], "seed is given twice"),
        (["judge.weight=[1"], "the values are not YAML"),
        (["seed.deep=1"], "seed = {'deep': 1}: Input should be a valid integer"),
    ],
)
def test_every_point_is_checked_before_anything_is_made(path, tmp_path, varied, message):
    options = [word for one in varied for word in ("--vary", one)]
    code, text = call("ablate", path, "-w", tmp_path / "run", *options)
    assert code == 2 and message in text and text.count(message) == 1
    assert not (tmp_path / "run").exists()


def test_too_many_keys_are_refused_before_anything_is_made(path, tmp_path):
    keys = [f"dataset.simulation.{key}" for key in ("users", "items", "tastes", "mean_history", "noise")]
    keys += ["recommenders.itemcf.recency", "recommenders.itemcf.neighbours", "evaluation.bootstrap"]
    grid = load_grid(path, None, [f"{key}=1" for key in keys if key != keys[3]] + [f"{keys[3]}=5"])
    ws = Workspace(str(tmp_path / "run"))
    with pytest.raises(InputError, match="8 keys are too many"):
        ablate(load_recipe(path), ws, grid, lambda recipe, inner: pytest.fail("a point was run"))
    assert not ws.root.exists()


def test_without_a_key_to_vary_there_is_no_ablation(path):
    code, text = call("ablate", path)
    assert code == 2 and "--vary" in text


def test_a_point_that_fails_is_named_and_the_others_go_on(path, tmp_path, ray_here):
    code, text = call("ablate", path, "-w", tmp_path / "run", "--vary", "dataset.k_core=0,60")
    assert code == 1, text
    assert "Failed: dataset.k_core 60: dataset.k_core = 60 leaves no interactions" in text
    table = Place.named(str(tmp_path / "run/ablation/dataset.k_core"), "x") / "table.parquet"
    assert set(table.read_table()["point"].to_pylist()) == {"dataset.k_core-0"}
    assert "dataset.k_core 60" in (tmp_path / "run/ablation/dataset.k_core/index.html").read_text()


def test_progress_says_which_point_of_how_many(path, tmp_path, ray_here):
    result = CliRunner().invoke(
        main,
        [
            "ablate",
            str(path),
            "-w",
            str(tmp_path / "run"),
            "--log",
            "json",
            "--vary",
            "evaluation.bootstrap=50,60",
        ],
    )
    assert not result.exit_code
    told = [json.loads(line) for line in result.stderr.splitlines() if '"points"' in line]
    assert [(one["point"], one["points"]) for one in told] == [(1, 2), (2, 2)]
    assert told[1]["message"] == "point 2 of 2: evaluation.bootstrap 60"


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[dict[str, list[Place]]]:
    """Two points that share request 2, and one that asks nobody."""
    folder = Place.named(str(tmp_path), "x")
    for name, ids in (("a", [1, 2]), ("b", [2, 3, 4])):
        table = {"request_id": [f"{one:016x}" for one in ids], "prompt_tokens": [10 * one for one in ids]}
        table |= {"output_tokens": [1] * len(ids), "judge_tokens": [None] * len(ids)}
        schema = {one: pa.string() if one == "request_id" else pa.int32() for one in table}
        (folder / name / "0.parquet").write_table(pa.table(table, pa.schema(schema.items())))
    yield {"a": [folder / "a"], "b": [folder / "b"], "c": []}


def test_a_request_of_two_points_is_alone_in_none(asked):
    found = requests_of(asked)
    assert found["a"] == {"requests": 2, "tokens": 32, "requests_alone": 1, "tokens_alone": 11}
    assert found["b"] == {"requests": 3, "tokens": 93, "requests_alone": 2, "tokens_alone": 72}
    assert found["c"] == {"requests": 0, "tokens": 0, "requests_alone": 0, "tokens_alone": 0}


def test_seconds_are_alone_if_no_other_point_and_not_the_run_has_the_unit():
    unit = {"fingerprint": "x", "seconds": 1.0}
    units = {
        "a": {
            "data": unit,
            "llm/generator": unit | {"seconds": 4.0},
            "fused/observed": unit | {"fingerprint": "y"},
        },
        "b": {"data": unit, "fused/observed": unit | {"fingerprint": "z", "taken_from": "fused/observed"}},
    }
    assert seconds_of(units) == {
        "a": {"seconds_alone": 5.0, "seconds_shared": 1.0},
        "b": {"seconds_alone": 0.0, "seconds_shared": 2.0},
    }


def test_names_of_points_are_fit_for_a_folder_and_differ(path):
    varied = ["ledger=a/b,a=b,'a b'", f"name={'x' * 200},{'x' * 199}y"]
    names = [point.name for point in load_grid(path, None, varied)]
    assert len(set(names)) == 6
    assert all(len(name) < 200 and not set(name) & set("=/ ") for name in names)


def test_the_last_key_moves_fastest_and_the_recipe_has_its_values(grid):
    assert [point.name for point in grid] == NAMES
    assert grid[2].recipe.recommenders["itemcf"].recency == 1 and grid[2].recipe.dataset.history_max == 2
    assert str(grid[3]) == "recommenders.itemcf.recency 1, dataset.history_max null"
    with pytest.raises(InputError, match="no such recipe"):
        load_grid("nowhere.yaml", None, VARIED)
