"""What every job and the `longtail` command share: read the recipe, open the workspace, run stages, explain faults."""

import errno
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from app.cluster import FIGURES
from app.errors import InputError
from app.lease import session
from app.recipe import Recipe, load_recipe
from app.workspace import Workspace

StageFunction = Callable[[Recipe, Workspace], None]

RecipeOption = Annotated[Path, typer.Option("--recipe", help="YAML file that describes the run.")]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder or URI (s3://…, gs://…) for all that the run makes. [default: runs/NAME]",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one value of the recipe: section.key=value. May be repeated."),
]


def execute(
    stages: list[StageFunction], recipe_path: Path, workspace: str | None, changes: list[str] | None
) -> Workspace:
    """Run `stages` in order; bad input ends with one message and exit code 2, Ctrl-C with 130. Nothing finished is lost."""
    show_progress()
    try:
        recipe = load_recipe(recipe_path, changes)
        ws = open_workspace(recipe, workspace or f"runs/{recipe.name}")
        with session():
            for stage in stages:
                stage(recipe, ws)
    except InputError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        Console(stderr=True).print("[yellow]Stopped.[/] The same command goes on where this one ended.")
        raise typer.Exit(130) from None
    except Exception as error:
        if not _is_disk_full(error):
            raise
        place = workspace or recipe_path
        _fail(
            f"{place}: no space left on the disk. Free some, or give another --workspace; what is finished stays."
        )
    return ws


def open_workspace(recipe: Recipe, uri: str) -> Workspace:
    """The workspace of this recipe; nothing is written to it yet.

    Raises InputError if it holds the run of another recipe.
    """
    ws = Workspace(uri, recipe.model_dump(mode="json"))
    other = ws.saved_recipe()
    if other is not None and other.get("name") != recipe.name:
        raise InputError(
            f"{ws}: holds the run of recipe '{other.get('name')}', this is '{recipe.name}'. "
            "Give another --workspace, or remove that one."
        )
    return ws


def stage_command(stage: StageFunction) -> None:
    """The command line of `python -m jobs.<stage>`."""

    def main(recipe: RecipeOption, workspace: WorkspaceOption = None, changes: SetOption = None) -> None:
        execute([stage], recipe, workspace, changes)

    main.__doc__ = stage.__doc__
    typer.run(main)


def show_progress() -> None:
    """Log to standard error: lines for a person, and where nobody looks, progress as JSON lines."""
    console = Console(stderr=True)
    handler = _Progress(console=console, show_level=False, show_path=False, log_time_format="%H:%M:%S")
    logger = logging.getLogger("longtail")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Progress(RichHandler):
    def emit(self, record: logging.LogRecord) -> None:
        figures = getattr(record, FIGURES, None)
        if not figures or self.console.is_terminal:
            super().emit(record)
            return
        line = {"time": record.created, "about": record.getMessage().partition(":")[0]} | figures
        print(json.dumps(line), file=sys.stderr, flush=True)


def _fail(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[bold red]error[/]: {message.replace('[', chr(92) + '[')}"
    )
    sys.stderr.flush()
    raise typer.Exit(2)


def _is_disk_full(error: BaseException) -> bool:
    """Whether ENOSPC lies behind an error, also one that came back from a Ray task as text."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
