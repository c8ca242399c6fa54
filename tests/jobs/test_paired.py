"""Options of one recipe side by side: real runs in one workspace, and differences that are those of the figures."""

import json

import pytest
from typer.testing import CliRunner

from jobs.options import AS_IT_IS, parsed
from jobs.paired import paired
from longtail.errors import InputError
from tests.console import RECIPE


def test_an_option_has_a_name_of_its_own() -> None:
    assert parsed(["words: a.b=1; c=[x, y]"]) == {AS_IT_IS: [], "words": ["a.b=1", "c=[x, y]"]}
    for wrong in ("recommenders.itemcf.text=1", ": a=1", f"{AS_IT_IS}: a=1"):
        with pytest.raises(InputError, match="write it as"):
            parsed([wrong])
    with pytest.raises(InputError, match="each name once"):
        parsed(["one: a=1", "one: a=2"])


def test_every_option_is_run_and_held_against_another(tmp_path) -> None:
    import typer

    (tmp_path / "tiny.yaml").write_text(RECIPE)
    app = typer.Typer()
    app.command()(paired)
    arguments = [str(tmp_path / "tiny.yaml"), "--to", str(tmp_path / "runs"), "--against", "short"]
    arguments += ["--set", "recommenders={itemcf: {}}", "--option", "short: recommenders.itemcf.neighbours=1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "runs/figures.json").read_text())
    value = {(one["option"], one["items"], one["metric"]): one["value"] for one in found}
    assert {option for option, _, _ in value} == {AS_IT_IS, "short"}
    for one in found:
        key = one["items"], one["metric"]
        assert one["over"] == pytest.approx(one["value"] - value["short", *key], abs=1e-9)
        assert one["low"] is None or one["low"] <= one["over"] <= one["high"]
    assert value[AS_IT_IS, "all", "recall"] != value["short", "all", "recall"]
