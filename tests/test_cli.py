"""The command line: bad input is one clear message and exit code 2, before anything is started."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import main

RECIPE = "name: tiny\ndataset: {simulation: {users: 60, items: 40, tastes: 4}}\n"


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_help_names_every_command():
    code, text = call("--help")
    assert code == 0
    for command in (
        "run",
        "prepare",
        "finetune",
        "augment",
        "fuse",
        "train",
        "evaluate",
        "report",
        "serve",
        "tune",
        "sweep",
        "status",
        "doctor",
    ):
        assert f" {command} " in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--set", "dataset.sorce=csv"], "did you mean 'source'"),
        (["--set", "dataset={source: parquet, path: /nowhere}"], "/nowhere"),
        (["--set", "dataset={source: parquet}"], "dataset.path"),
        (["--set", "generator.epochs=none"], "generator.epochs"),
    ],
)
def test_bad_input_ends_with_two(recipe, tmp_path, changes, message):
    code, text = call("prepare", recipe, "-w", tmp_path / "run", *changes)
    assert code == 2 and message in " ".join(text.split()), text


def test_a_workspace_of_another_recipe_is_refused(recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: other\n")
    code, text = call("report", recipe, "-w", tmp_path / "run")
    assert code == 2 and "other" in text and "--workspace" in text


def test_a_stage_whose_input_is_missing_names_what_to_run(recipe, tmp_path):
    code, text = call("fuse", recipe, "-w", tmp_path / "run")
    assert code == 2 and "longtail prepare" in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recommender", "sasrec"], "--recommender sasrec: the recipe has itemcf, swing"),
        (["--samples", "0"], "tune.samples = 0"),
        (["--set", "tune.space={swing.recensy: [1]}"], "did you mean 'swing.recency'"),
        (["--set", "tune.space={swing.recency: [7]}"], "swing.recency = 7"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_is_prepared(recipe, tmp_path, arguments, message):
    code, text = call("tune", recipe, "-w", tmp_path / "run", *arguments)
    assert code == 2 and message in " ".join(text.split()), text
    assert not (tmp_path / "run" / "data").exists()


def test_a_recipe_without_augmented_variants_asks_no_llm(recipe, tmp_path):
    for stage in ("finetune", "augment"):
        assert call(stage, recipe, "-w", tmp_path / "run", "--set", "variants=[observed]") == (0, "")
    assert not (tmp_path / "run").exists(), "what has nothing to do writes nothing"


def test_status_of_an_empty_workspace_is_no_fault(tmp_path):
    assert call("status", tmp_path / "run")[0] == 0
