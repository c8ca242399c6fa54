"""The `longtail` command; nothing but arguments and calls."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jobs.command import SetOption, StageFunction, WorkspaceOption, execute
from jobs.sweep import SweptOption, run_sweep
from jobs.tune import RecommenderOption, SamplesOption, run_tuning

main = typer.Typer(
    help="Recommendation where data is thin. Start with: longtail run jobs/recipes/demo.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
RecipeArgument = Annotated[
    Path, typer.Argument(help="YAML file that describes the run, e.g. jobs/recipes/demo.yaml")
]


@main.command()
def run(recipe: RecipeArgument, workspace: WorkspaceOption = None, changes: SetOption = None) -> None:
    """Run every stage that is not up to date, from raw logs to the report."""
    from jobs.run import run

    ws = execute([run], recipe, workspace, changes)
    Console().print(f"Report: {ws}/report/index.html", soft_wrap=True)


@main.command()
def serve(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    port: Annotated[int, typer.Option(help="Port of the HTTP endpoint.")] = 8000,
) -> None:
    """Serve recommendations from a finished workspace over HTTP, until Ctrl-C."""
    from app.serving import serve

    execute([lambda recipe, ws: serve(recipe, ws, port=port)], recipe, workspace, changes)


@main.command()
def tune(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: RecommenderOption = None,
    samples: SamplesOption = None,
) -> None:
    """Search the best settings of the recommenders on validation, and save them as a recipe."""
    run_tuning(recipe, workspace, changes, recommender, samples)


@main.command()
def sweep(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: SweptOption = None,
) -> None:
    """Search the best judge of the generated interactions on validation, without an LLM call."""
    run_sweep(recipe, workspace, changes, recommender)


@main.command()
def status(workspace: Annotated[str, typer.Argument(help="Folder or URI of a run, e.g. runs/demo")]) -> None:
    """Show what a workspace holds: every published part, its seconds and its counts."""
    from app.workspace import Workspace

    table = Table("part", "seconds", "counts", title=workspace)
    for place, manifest in Workspace(workspace).manifests().items():
        counts = {name: value for name, value in manifest["counts"].items() if not isinstance(value, dict)}
        table.add_row(
            place,
            f"{manifest['seconds']:.1f}",
            ", ".join(f"{name} {value}" for name, value in counts.items()),
        )
    Console().print(table)


@main.command()
def doctor() -> None:
    """Check versions, hardware and engines; name the fix of each fault. Exit 1 if the main job could not run."""
    from app.doctor import doctor

    raise typer.Exit(doctor())


def _stage(name: str, what: str) -> None:
    """Add the command of one stage; its room is imported only when it is called."""

    def command(recipe: RecipeArgument, workspace: WorkspaceOption = None, changes: SetOption = None) -> None:
        stage: StageFunction = getattr(import_module(f"jobs.{name}"), name)
        execute([stage], recipe, workspace, changes)

    main.command(name, help=what)(command)


_stage("prepare", "Raw logs and catalogue to histories, items, split and slices.")
_stage("finetune", "Tune the generator and the discriminator under Ray Train and DeepSpeed.")
_stage(
    "augment",
    "Stream histories through the generator and the discriminator; keep every answer in the ledger.",
)
_stage("fuse", "Build the variants of the training set: observed, generated, discriminated and the controls.")
_stage("train", "Train the recommenders on every variant.")
_stage("evaluate", "Rank the whole catalogue for every user and keep the ranks of the held-out items.")
_stage("report", "Write report/index.html and report/metrics.json.")
