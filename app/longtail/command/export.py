"""Write what a finished workspace holds, with raw ids, for whoever has a recommender or a shop of their own."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.command.exits import explained
from longtail.command.log import Form, results, speaking

WHAT = "What to write"
FolderOption = Annotated[
    str, typer.Option("--to", help="Folder or URI to write to; it may be a new one.", rich_help_panel=WHAT)
]
ManyOption = Annotated[
    int, typer.Option("--k", help="Recommendations for each user.", min=1, rich_help_panel=WHAT)
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace files that are there already.", rich_help_panel=WHAT),
]


class Ending(StrEnum):
    parquet = "parquet"
    csv = "csv"


EndingOption = Annotated[Ending, typer.Option("--format", help="Kind of file.", rich_help_panel=WHAT)]


def run_export(workspace: str, folder: str, ending: Ending, k: int, overwrite: bool, form: Form) -> None:
    """Write the files, and say which and how many rows each has."""
    with speaking(form), explained(folder):
        written = export(workspace, folder, ending, k, overwrite)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("rows", justify="right")
    for name, rows in written.items():
        table.add_row(name, f"{rows:,}")
    results().print(table)


def export(
    workspace: str, folder: str, ending: str = "parquet", k: int = 10, overwrite: bool = False
) -> dict[str, int]:
    """The rows of each written file, by its path: recommendations, neighbours if a model keeps any, and each training log.

    Raises InputError, before anything is written, if a file is there already and `overwrite` does not say so, or if
    nothing can be served.
    """
    from longtail.api.exports import neighbour_fits, training_sets
    from longtail.api.run import open as open_run
    from longtail.api.table_file import check_free
    from longtail.rounds import last_round
    from longtail.workspace.place import Place

    run, to = open_run(workspace), Place.named(folder, "--to")
    round_ = last_round(run.recipe)
    sets = training_sets(run.workspace, round_)
    logs = {name: to / f"log-{name}.{ending}" for name in sets}
    recommended, neighbours = to / f"recommendations.{ending}", to / f"neighbours.{ending}"
    for place in (recommended, neighbours, *logs.values()):
        check_free(place, overwrite)
    written = {recommended.path: run.recommend_all(k, to=recommended.uri, overwrite=overwrite)}
    if neighbour_fits(run.workspace, round_):
        written[neighbours.path] = run.neighbours(to=neighbours.uri, overwrite=overwrite)
    for name, place in logs.items():
        written[place.path] = run.training_log(name, to=place.uri, overwrite=overwrite)
    return written
