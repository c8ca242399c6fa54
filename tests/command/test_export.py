"""`longtail export` writes what the workspace holds, and nothing over what is there."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import longtail
from longtail.cli import main
from longtail.workspace import read_manifest


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_it_writes_recommendations_neighbours_and_every_training_log(
    small_run: longtail.Run, tmp_path: Path, ending: str
) -> None:
    to, ws = tmp_path / "out", small_run.workspace
    call = ["export", str(ws), "--to", str(to), "--format", ending, "--k", "4"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv}[ending]
    tables = {path.stem: read(path) for path in to.iterdir()}
    assert set(tables) == {"recommendations", "neighbours", "log-observed"}
    users = read_manifest(ws / "data")["counts"]["users"]
    assert tables["recommendations"].groupby("user_id").size().max() == 4
    assert tables["recommendations"]["user_id"].nunique() == users
    counts = read_manifest(ws / "final/fused/observed")["counts"]
    assert len(tables["log-observed"]) == counts["observed"] + counts["generated"]
    assert set(tables["log-observed"]["origin"]) == {"observed"}
    for path in to.iterdir():
        assert path.name in "".join(done.output.split()), "the output names every file"
    again = CliRunner().invoke(main, call)
    assert again.exit_code == 2 and "is there already" in again.output
    assert CliRunner().invoke(main, [*call, "--overwrite"]).exit_code == 0


def test_nothing_is_written_of_what_is_no_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(tmp_path / "none"), "--to", str(tmp_path / "out")])
    assert done.exit_code == 2 and "there is no run here" in done.output and not (tmp_path / "out").exists()
