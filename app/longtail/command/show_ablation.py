"""`longtail ablate`: a grid of recipes in one workspace, in which nothing is made or asked twice."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.command.execute import RecipeOption, SetOption, WorkspaceOption, execute
from longtail.command.log import Form, LogOption, results
from longtail.recipe import Recipe, load_grid
from longtail.registry import recommender_spec
from longtail.variants import LLM_VARIANTS, label
from longtail.workspace import Workspace
from longtail.workspace.place import Place

VaryOption = Annotated[
    list[str],
    typer.Option(
        "--vary",
        help="A key of the recipe and its values, e.g. judge.weight=.1,.3,1. May be repeated: all combinations are run.",
        metavar="SECTION.KEY=VALUE,VALUE,…",
        rich_help_panel="What to run",
    ),
]


def run_ablation(
    recipe: Path, workspace: str | None, changes: list[str] | None, varied: list[str], form: Form
) -> None:
    """Run the grid, then show its figures. Exit code 1 if a point failed."""
    found: list[Any] = []

    def stage(one: Recipe, ws: Workspace) -> None:
        points = load_grid(recipe, changes, varied)
        from longtail.search.ablate import ablate
        from longtail.stages import measure

        found.append(ablate(one, ws, points, measure))

    execute([stage], recipe, workspace, changes, form)
    ablation = found[0]
    if ablation.place:
        show(ablation.place)
    console = results()
    for point, reason in ablation.faults.items():
        console.print(f"Failed: {point}: {reason}", markup=False, soft_wrap=True)
    if ablation.faults:
        raise typer.Exit(1)


def show(place: Place) -> None:
    """Print NDCG@10 of all users in a published ablation: of the observed log and of what an LLM made."""
    table = (place / "table.parquet").read_table()
    keys = table.column_names[1 : table.column_names.index("recommender")]
    shown = Table(
        *keys,
        *(
            "recommender",
            "variant",
            "NDCG@10",
            "over observed",
            "over best rival",
            "over first point",
            "requests\nalone",
        ),
        title="NDCG@10 of all users, on test items",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for row in table.to_pylist():
        if (row["metric"], row["slice"]) == ("ndcg", "all") and row["variant"] in ("observed", *LLM_VARIANTS):
            shown.add_row(
                *(f"{row[key]:g}" if isinstance(row[key], float) else row[key] for key in keys),
                recommender_spec(row["recommender"]).title,
                label(row["variant"]),
                f"{row['value']:.4f}",
                *(_difference(row, base) for base in ("observed", "best", "first")),
                f"{row['requests_alone']:,}",
            )
    console = results()
    console.print(shown)
    console.print(f"Page: {place}/index.html", soft_wrap=True)
    console.print(f"Every slice and metric: {place}/table.csv", soft_wrap=True)


def _difference(row: dict[str, Any], base: str) -> str:
    value, low, high = (row[f"over_{base}{part}"] for part in ("", "_low", "_high"))
    return "" if low is None else f"{value:+.4f} ({low:+.4f} to {high:+.4f})"


def main(
    recipe: RecipeOption,
    varied: VaryOption,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    form: LogOption = Form.text,
) -> None:
    """Run a grid of recipes in one workspace, and report a table and curves with intervals."""
    run_ablation(recipe, workspace, changes, varied, form)
