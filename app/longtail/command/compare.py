"""Two reports side by side, of two workspaces or of one: both verdicts, each figure, and the difference."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.command.exits import explained
from longtail.command.log import Form, results, speaking
from longtail.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["recommender", "variant", "slice", "metric", "k"]
"""What tells one row of a report from another."""
SLICES = ("all", "items:tail")
METRICS = ("recall", "ndcg")
"""What a terminal shows; a file has all of it."""
TableFileOption = Annotated[
    Path | None,
    typer.Option("--to", help="Write all rows to a .csv or .html file too.", rich_help_panel="Output"),
]
SAME_DATA = ("users", "items", "interactions", "train", "test")
"""Counts of the prepared data that two comparable runs have in common."""


def run_compare(first: str, second: str, to: Path | None, form: Form) -> None:
    """Show the figures at the k nearest to 10, say which rows only one has, and write all if asked."""
    from longtail.report.summary import nearest_ten

    with speaking(form), explained(to or first):
        a, b = _metrics(first), _metrics(second)
        both, only = side_by_side(a["rows"], b["rows"])
        if to is not None:
            write(both, to)
    k = nearest_ten(a["recipe"]["evaluation"]["ks"])
    console = results()
    for name, given, one in (("A", first, a), ("B", second, b)):
        said = one.get("verdict", {}).get("sentences", ())
        console.print(" ".join([f"{name}: {given}", *said]), soft_wrap=True)
    different = [name for name in SAME_DATA if a["dataset"].get(name) != b["dataset"].get(name)]
    if different:
        counts = ", ".join(
            f"{a['dataset'].get(name):,} and {b['dataset'].get(name):,} {name}" for name in different
        )
        console.print(f"Not of the same data: {counts}. A difference may come from that.", soft_wrap=True)
    console.print(_table(both, k))
    for name, rows in only.items():
        console.print(f"Only in {name}: {rows}.", soft_wrap=True)
    console.print(
        "A difference is B - A, without an interval: the interval of each figure is in its report."
        + (f" All {len(both):,} rows: {to}" if to else f" --to FILE.csv writes all {len(both):,} rows."),
        soft_wrap=True,
    )


def side_by_side(first: list[dict], second: list[dict]) -> tuple["pd.DataFrame", dict[str, str]]:
    """Rows of two metrics.json: KEYS, `a`, `b`, `difference` and the users `n_a` and `n_b` of every row of either, in the
    order of the first; and by A and B what only that one has, in words.
    """
    import pandas as pd

    frames = [
        pd.DataFrame(rows, columns=[*KEYS, "value", "n"]).rename(columns={"value": name, "n": f"n_{name}"})
        for rows, name in ((first, "a"), (second, "b"))
    ]
    both = pd.concat([frame[KEYS] for frame in frames]).drop_duplicates()
    for frame in frames:
        both = both.merge(frame, on=KEYS, how="left")
    both["difference"] = both["b"] - both["a"]
    only = {}
    for name, other in (("A", "n_b"), ("B", "n_a")):
        fits = both[both[other].isna()].groupby(["recommender", "variant"], sort=False).size()
        if len(fits):
            only[name] = ", ".join(
                f"{one} on {variant} ({rows} rows)" for (one, variant), rows in fits.items()
            )
    columns = [*KEYS, "a", "b", "difference", "n_a", "n_b"]
    return both[columns], only


def write(both: "pd.DataFrame", to: Path) -> None:
    """Raises InputError for a name that says no format."""
    if to.suffix == ".csv":
        both.to_csv(to, index=False)
    elif to.suffix == ".html":
        both.to_html(to, index=False, float_format="{:.4f}".format, na_rep="")
    else:
        raise InputError(f"--to {to}: the name says no format. Let it end in .csv or .html.")


def _metrics(workspace: str) -> dict:
    """Those of the report of a workspace, or of a report that is named itself, as `runs/demo/reports/1`."""
    from longtail.workspace import Workspace

    ws = Workspace(workspace)
    place = ws.root if (ws / "metrics.json").is_file() else ws.require("report")
    return (place / "metrics.json").read_json()


def _table(both: "pd.DataFrame", k: int) -> Table:
    """The rows of SLICES and METRICS at k."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("recommender", "variant", "slice", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("A", "B", "B - A"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = both[both["slice"].isin(SLICES) & both["metric"].isin(METRICS) & (both["k"] == k)]
    for row in shown.to_dict("records"):
        numbers = [_number(row["a"], ".4f"), _number(row["b"], ".4f"), _number(row["difference"], "+.4f")]
        table.add_row(row["recommender"], row["variant"], row["slice"], f"{row['metric']}@{k}", *numbers)
    return table


def _number(value: float, form: str) -> str:
    return "" if value != value else format(value, form).replace("-", "−")
