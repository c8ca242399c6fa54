"""`longtail compare` puts the rows of two reports side by side, by what they are about."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from longtail.cli import main
from longtail.command.compare import side_by_side
from longtail.workspace import Workspace


def row(
    recommender: str, variant: str, value: float, where: str = "all", metric: str = "recall"
) -> dict[str, Any]:
    about = {"recommender": recommender, "variant": variant, "slice": where, "metric": metric, "k": 10}
    return about | {"value": value, "n": 40, "lift": None}


FIRST = [
    row("swing", "observed", 0.3),
    row("swing", "generated", 0.4),
    row("swing", "observed", 0.1, "items:tail"),
]
SECOND = [
    row("itemcf", "observed", 0.2),
    row("swing", "observed", 0.25),
    row("swing", "observed", 0.2, "items:tail"),
]


def reported(folder: Path, rows: list[dict[str, Any]], users: int = 40, said: str = "") -> str:
    ws = Workspace(str(folder))
    with ws.stage("report", {"said": said}).publishing() as draft:
        metrics = {
            "verdict": {"sentences": [said] if said else []},
            "rows": rows,
            "recipe": {"evaluation": {"ks": [10]}},
            "dataset": {"users": users, "items": 8},
        }
        (draft / "metrics.json").write_json(metrics)
    return str(folder)


def test_rows_meet_by_what_they_are_about() -> None:
    both, only = side_by_side(FIRST, SECOND)
    found = both.set_index(["recommender", "variant", "slice"])
    assert found.loc[("swing", "observed", "all"), ["a", "b"]].tolist() == [0.3, 0.25]
    assert found.loc[("swing", "observed", "all"), "difference"] == pytest.approx(-0.05)
    assert found.loc[("swing", "observed", "items:tail"), "difference"] == pytest.approx(0.1)
    assert pd.isna(found.loc[("itemcf", "observed", "all"), "difference"])
    assert list(found.index) == [(r["recommender"], r["variant"], r["slice"]) for r in [*FIRST, SECOND[0]]]
    assert only == {"A": "swing on generated (1 rows)", "B": "itemcf on observed (1 rows)"}


@pytest.mark.parametrize("ending", ["csv", "html"])
def test_the_command_shows_and_writes(tmp_path: Path, ending: str) -> None:
    a, b = reported(tmp_path / "a", FIRST), reported(tmp_path / "b", SECOND, users=41)
    to = tmp_path / f"difference.{ending}"
    done = CliRunner().invoke(main, ["compare", a, b, "--to", str(to)])
    assert done.exit_code == 0, done.output
    assert "−0.0500" in done.output and "+0.1000" in done.output
    assert "Only in A: swing on generated" in done.output and "Only in B: itemcf on observed" in done.output
    assert "Not of the same data: 40 and 41 users" in done.output and str(to) in done.output
    if ending == "csv":
        found = pd.read_csv(to)
        assert len(found) == 4 and found["difference"].notna().sum() == 2
    else:
        assert to.read_text().count("<tr") == 5


def test_two_runs_of_the_same_data_differ_in_nothing_else(tmp_path: Path) -> None:
    a, b = reported(tmp_path / "a", FIRST), reported(tmp_path / "b", FIRST)
    done = CliRunner().invoke(main, ["compare", a, b])
    assert done.exit_code == 0 and "Not of the same" not in done.output and "Only in" not in done.output


def test_two_reports_of_one_workspace_are_laid_side_by_side_with_their_verdicts(tmp_path: Path) -> None:
    reported(tmp_path / "run", FIRST, said="Serve the first: it is best.")
    Workspace(str(tmp_path / "run")).keep("report", "reports")
    reported(tmp_path / "run", SECOND, said="Serve the second: it is best.")
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "run/reports/1"), str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "reports/1 Serve the first: it is best." in done.output and "Serve the second" in done.output
    assert "−0.0500" in done.output and "Only in B: itemcf on observed" in done.output


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    a = reported(tmp_path / "a", FIRST)
    done = CliRunner().invoke(main, ["compare", a, str(tmp_path / "none")])
    assert done.exit_code == 2 and "report is missing" in done.output
    done = CliRunner().invoke(main, ["compare", a, a, "--to", str(tmp_path / "x.doc")])
    assert done.exit_code == 2 and ".csv or .html" in done.output
