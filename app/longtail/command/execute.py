"""Running stages, for the `longtail` command and every job: reads the recipe, opens the workspace, logs the progress."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from longtail.command.exits import explained
from longtail.command.log import Form, LogOption, speaking
from longtail.recipe import Recipe, load_recipe
from longtail.runtime.ray_start import ray_ended
from longtail.workspace import Workspace
from longtail.workspace.lease import session

StageFunction = Callable[[Recipe, Workspace], None]

RecipeOption = Annotated[Path, typer.Option("--recipe", help="YAML file that describes the run.")]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder or URI (s3://…, gs://…) for everything that the run makes.",
        show_default="runs/NAME, the recipe's name",
        rich_help_panel="What to run",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change one value of the recipe, e.g. judge.keep=3. May be repeated.",
        metavar="SECTION.KEY=VALUE",
        rich_help_panel="What to run",
    ),
]


def execute(
    stages: list[StageFunction],
    recipe_path: Path,
    workspace: str | None,
    changes: list[str] | None,
    form: Form = Form.text,
) -> Workspace:
    """Run `stages` in order and log the progress. `longtail.command.exits.explained` says how it may end."""
    with speaking(form), explained(workspace or recipe_path), ray_ended():
        recipe = load_recipe(recipe_path, changes)
        ws = Workspace.of_run(workspace or f"runs/{recipe.name}", recipe.model_dump(mode="json"))
        with session():
            for stage in stages:
                stage(recipe, ws)
    return ws


def stage_command(stage: StageFunction) -> None:
    """The command line of `python -m jobs.<stage>`."""

    def main(
        recipe: RecipeOption,
        workspace: WorkspaceOption = None,
        changes: SetOption = None,
        form: LogOption = Form.text,
    ) -> None:
        execute([stage], recipe, workspace, changes, form)

    main.__doc__ = stage.__doc__
    typer.run(main)
