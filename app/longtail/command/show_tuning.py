"""`longtail tune`: the best settings of the recipe's recommenders on validation."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from longtail.command.execute import RecipeOption, SetOption, WorkspaceOption, execute
from longtail.command.log import Form, LogOption, results
from longtail.recipe import Constraint, Recipe
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

SHOWN = 10
"""How many trials the table shows."""

RecommenderOption = Annotated[
    str | None,
    typer.Option(
        "--recommender",
        help="Tune only this recommender.",
        show_default="all of the recipe",
        rich_help_panel="What to run",
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(
        "--samples",
        help="Number of trials per recommender.",
        show_default="tune.samples of the recipe",
        rich_help_panel="What to run",
    ),
]


def run_tuning(
    recipe: Path,
    workspace: str | None,
    changes: list[str] | None,
    recommender: str | None,
    samples: int | None,
    form: Form,
) -> None:
    """Tune, then show the trials and the path of the best recipe."""
    found: dict[str, Place] = {}

    def stage(recipe: Recipe, ws: Workspace) -> None:
        # Imported here, because every command imports this module and torch takes seconds.
        from longtail.search.tune import tune

        found.update(tune(recipe, ws, recommender))

    more = [f"tune.samples={samples}"] if samples is not None else []
    execute([stage], recipe, workspace, [*(changes or []), *more], form)
    for name, place in found.items():
        show(name, place)
    from longtail.search.tune import best_recipe

    best = best_recipe(next(iter(found.values())))
    results().print(f"Best: {best}", soft_wrap=True)
    results().print(f"Next: longtail run {shlex.quote(str(best))} --workspace NEW", soft_wrap=True)


def show(name: str, place: Place) -> None:
    """Print a table of the best trials in a published `tuning/<name>`."""
    from longtail.evaluation.constrained_choice import cost_in_words

    about = read_manifest(place)
    constraint, counts = Constraint.model_validate(about["settings"]["constraint"]), about["counts"]
    columns = ("", "NDCG@10", "settings", "epochs", "seconds", "loses", "")
    table = Table(*columns, title=f"{name}, on validation")
    for rank, row in enumerate((place / "trials.parquet").read_table().to_pylist()[:SHOWN], start=1):
        table.add_row(
            str(rank),
            "failed" if row["ndcg"] is None else f"{row['ndcg']:.4f}",
            ", ".join(f"{key} {value}" for key, value in json.loads(row["settings"]).items()),
            str(row["epochs"] or ""),
            f"{row['seconds']:.1f}",
            ", ".join(row["lost"]),
            "as in the recipe" if row["trial"] == 0 else "" if row["finished"] else "ended early",
        )
    console = results()
    console.print(table)
    if constraint.slices:
        words = cost_in_words(constraint, counts["NDCG@10 free"], counts["best NDCG@10"])
        console.print(words, soft_wrap=True)
    if (place / "frontier.png").exists():
        console.print(f"All users against the slices: {place}/frontier.png", soft_wrap=True)


def main(
    recipe: RecipeOption,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: RecommenderOption = None,
    samples: SamplesOption = None,
    form: LogOption = Form.text,
) -> None:
    """Search the best settings of the recipe's recommenders on validation, with Ray Tune."""
    run_tuning(recipe, workspace, changes, recommender, samples, form)
