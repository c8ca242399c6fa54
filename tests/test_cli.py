"""The command line: bad input is one clear message and exit code 2, before anything is started."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from longtail import __version__
from longtail.cli import main
from longtail.workspace import Workspace
from tests.console import at_a_terminal, without_codes

RECIPE = "name: tiny\ndataset: {simulation: {users: 60, items: 40, tastes: 4}}\n"
STAGES = ("prepare", "embed", "finetune", "augment", "fuse", "train", "evaluate", "report")
COMMANDS = (
    "init",
    "run",
    "serve",
    "add-items",
    "export",
    "tune",
    "sweep",
    "ablate",
    "status",
    "compare",
    "doctor",
    *STAGES,
)


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def words(text: str) -> str:
    """Without the frames of help."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def test_help_names_every_command():
    code, text = call("--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command):
    code, text = call(command, "--help")
    assert code == 0 and f"Example: longtail {command}" in words(text)


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("run", "runs/NAME"),
        ("prepare", "runs/NAME"),
        ("serve", "8000"),
        ("tune", "all of the recipe"),
        ("tune", "tune.samples of the recipe"),
        ("sweep", "all of the recipe"),
        ("run", "text"),
    ],
)
def test_help_says_the_defaults(command, default):
    """Written into a help text, «[default: …]» was taken for markup and vanished."""
    assert re.search(rf"\[default: \(?{re.escape(default)}", words(call(command, "--help")[1]))


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["rum"], "'run'"),
        (["statsu", "x"], "'status'"),
        (["run", "x.yaml", "--workspce", "y"], "--workspace"),
        (["tune", "x.yaml", "--recomender", "bpr"], "--recommender"),
        (["run", "x.yaml", "--log", "xml"], "'json'"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_on_one_line(arguments, nearest):
    code, text = call(*arguments)
    assert code == 2 and nearest in text and "--help" in text and len(text.splitlines()) == 1


def test_version():
    assert call("--version") == (0, f"longtail {__version__}\n")


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


def test_status_of_what_is_no_run_says_so_and_ends_with_two(tmp_path):
    for place in (tmp_path / "nothing", tmp_path):
        code, text = call("status", place)
        assert code == 2 and str(place) in text and len(text.splitlines()) == 1


PLACES = ["report", "evaluation/observed/bpr-0", "recommenders/observed/bpr-0", "fused/observed", "data"]


def published(root: Path) -> None:
    for number, place in enumerate(
        [*PLACES, f"recommenders/{'long' * 30}/bpr-0", f"recommenders/{'long' * 30}/bpr-1"]
    ):
        stage = Workspace(str(root)).stage(place, {})
        stage.counts = {"rows": 1000 * number, "share": 0.12345678, "dropped": {"null": 3}}
        with stage.publishing() as draft:
            (draft / "one").write_bytes(b"1")


def test_status_is_in_the_order_of_the_stages_with_whole_names_and_their_age(tmp_path):
    published(tmp_path / "run")
    code, text = call("status", tmp_path / "run")
    lines = text.splitlines()
    at = [next(n for n, line in enumerate(lines) if place in line) for place in reversed(PLACES)]
    assert code == 0 and at == sorted(at)
    for seed in (0, 1):
        assert f"recommenders/{'long' * 30}/bpr-{seed}" in text
    row = lines[at[1]].split()
    assert (
        row[0] == "fused/observed" and row[2] == row[4] == "s" and "rows 3,000, share 0.1235" in lines[at[1]]
    )


def test_a_recipe_without_augmented_variants_asks_no_llm(recipe, tmp_path):
    for stage in ("finetune", "augment"):
        assert call(stage, recipe, "-w", tmp_path / "run", "--set", "variants=[observed]") == (0, "")
    assert not (tmp_path / "run").exists(), "what has nothing to do writes nothing"


@pytest.mark.parametrize("columns", [60, 80])
def test_status_at_a_narrow_terminal_folds_and_cuts_nothing(tmp_path, columns):
    published(tmp_path / "run")
    code, drawn = at_a_terminal("status", "run", cwd=tmp_path, columns=columns)
    text = without_codes(drawn)
    assert code == 0 and "recommenders/observed/bpr-0 " in text and "…" not in text
    folded = "".join(line.strip().split("  ")[0] for line in text.splitlines())
    for seed in (0, 1):
        assert f"recommenders/{'long' * 30}/bpr-{seed}" in folded
    assert "3,000," in text and text.count("share") == 7
