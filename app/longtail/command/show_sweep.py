"""`longtail sweep`: the best judge of the generated interactions on validation, from the ledger, without an LLM call."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.command.execute import RecipeOption, SetOption, WorkspaceOption, execute
from longtail.command.log import Form, LogOption, results
from longtail.recipe import Constraint, Recipe
from longtail.variants import label
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

SHOWN = 8
"""How many of the best points the table shows. The points for comparison are added."""
BLEND = ("likelihood", "agreement", "yes_no")
RARELY_SET = {"tail_share": 0.0, "threshold": 0.0, "tail_boost": 1.0}
"""Settings that few recipes change, and the values with no effect."""
JUDGE = (*BLEND, *RARELY_SET, "keep", "weight")

SweptOption = Annotated[
    str | None,
    typer.Option(
        "--recommender",
        help="Sweep only this recommender; if it has to be trained, fewer points are tried.",
        show_default="all of the recipe",
        rich_help_panel="What to run",
    ),
]


def run_sweep(
    recipe: Path, workspace: str | None, changes: list[str] | None, recommender: str | None, form: Form
) -> None:
    """Sweep, then show the points and the path of the best judge."""
    found: dict[str, Place] = {}

    def stage(recipe: Recipe, ws: Workspace) -> None:
        from longtail.search.sweep import sweep

        found.update(sweep(recipe, ws, recommender))

    execute([stage], recipe, workspace, changes, form)
    for name, place in found.items():
        show(name, place)


def show(name: str, place: Place) -> None:
    """Print a table of the best points in a published `sweep/<name>`, with the points for comparison."""
    from longtail.evaluation.constrained_choice import cost_in_words

    rows, about = (place / "points.parquet").read_table().to_pylist(), read_manifest(place)
    aim, constraint = rows[0]["slice"], Constraint.model_validate(about["settings"]["constraint"])
    columns = [
        "",
        "blend",
        "keep\nweight",
        "besides",
        "NDCG@10",
        "lift",
        "t",
        "t, to\ncontrol",
        "long\ntail",
        "t",
    ]
    title = f"{name}, on validation"
    if aim != "all":
        columns += [aim, "t", "t, to\ncontrol"]
        title += f", best for {aim}"
    if constraint.slices:
        columns.append("loses")
    table = Table(*columns, title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading, row in _shown(rows):
        aimed = [] if aim == "all" else _aimed(row)
        losses = ["\n".join(row["lost"])] if constraint.slices else []
        table.add_row(heading, *_setting(row), *_figures(row, rows[0]), *aimed, *losses)
    console = results()
    console.print(table)
    if constraint.slices:
        if rows[0]["best"]:
            console.print("No point meets the constraint, so nothing is to be added.")
        free, best = (about["counts"][f"NDCG@10 {name}"] for name in ("free", "best"))
        of = "all users" if aim == "all" else aim
        console.print(cost_in_words(constraint, free, best, of), soft_wrap=True)
    console.print(f"Curves: {place}/curves.png", soft_wrap=True)
    console.print(f"All users against the slices: {place}/frontier.png", soft_wrap=True)
    console.print(f"Best, to paste into the recipe before the next run: {place}/best.yaml", soft_wrap=True)
    console.print((place / "best.yaml").read_bytes().decode(), markup=False)


def _shown(rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The rows of the table with their labels. A control has one row, its best."""
    controls: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["search"] == "control":
            best = controls.get(row["variant"], row)
            controls[row["variant"]] = max((best, row), key=_rank)
    searched = [row for row in rows if row["search"] in ("recipe", "in turn")]
    judged = {tuple(row[name] for name in JUDGE): row for row in searched}
    ranked = sorted(judged.values(), key=_rank, reverse=True)[:SHOWN]
    return [
        ("observed", rows[0]),
        ("recipe", rows[1]),
        *((label(name), row) for name, row in controls.items()),
        *zip(map(str, range(1, SHOWN + 1)), ranked, strict=False),
    ]


def _rank(row: dict[str, Any]) -> tuple[bool, float]:
    """What meets the constraint stands first, then what is better."""
    return not row["lost"], row["aim_ndcg"]


def _setting(row: dict[str, Any]) -> list[str]:
    """The judge's settings as cells."""
    if row["variant"] == "observed":
        return [""] * 3
    amount = f"{row['keep']} × {row['weight']:g}"
    blend = "/".join(f"{row[name]:g}" for name in BLEND)
    besides = [
        f"{name.replace('_', ' ')} {row[name]:g}"
        for name, nothing in RARELY_SET.items()
        if row[name] != nothing
    ]
    return [blend, amount, "\n".join(besides)]


def _figures(row: dict[str, Any], observed: dict[str, Any]) -> list[str]:
    """NDCG@10 of all users, its lift over observed, its paired t against observed and control; the same of the long tail."""
    from longtail.ranking_metrics import lift
    from longtail.report.summary import change

    own, base = row["ndcg"], observed["ndcg"]
    lifted = "" if row is observed else change(lift(own, base), own - base, 1)
    tail = "" if row["tail_ndcg"] is None else f"{row['tail_ndcg']:.4f}"
    tests = (_t(row[name]) for name in ("t_ndcg", "t_control_ndcg"))
    return [f"{own:.4f}", lifted, *tests, tail, _t(row["t_tail_ndcg"])]


def _aimed(row: dict[str, Any]) -> list[str]:
    """NDCG@10 of the slice that the sweep optimises, and its paired t against observed and control."""
    return [f"{row['aim_ndcg']:.4f}", _t(row["t_aim_ndcg"]), _t(row["t_control_aim_ndcg"])]


def _t(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def main(
    recipe: RecipeOption,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: SweptOption = None,
    form: LogOption = Form.text,
) -> None:
    """Search the best judge of the generated interactions on validation, without an LLM call."""
    run_sweep(recipe, workspace, changes, recommender, form)
