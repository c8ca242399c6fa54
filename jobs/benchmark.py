"""Figures that a user can check: ratios of paired runs on this machine, ours against the best alternative.

python -m jobs.benchmark recommenders --data FOLDER/WITH/DATA/SETS --json figures.json
"""

import json
import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from jobs.command import show_progress

log = logging.getLogger("longtail")

RECOMMENDERS = {
    "swing": ("swing_over_python", "swing_time_over_implicit_cosine", "swing_visit_cost_growth"),
    "lightgcn": ("lightgcn_over_pyg", "lightgcn_two_over_one"),
    "sasrec": ("sasrec_over_plain",),
    "ranking": ("ranking_over_implicit", "ranking_rss_gib"),
    "growth": ("growth_exponent",),
}
"""Modules of `jobs.benchmarks` and the figures each is asked for; a module may answer more."""
SIMULATED = ("ranking", "growth")
"""Those that make their data themselves."""

benchmark = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_show_locals=False)


@benchmark.callback()
def _commands() -> None:
    """Figures that a user can check: ratios of paired runs on this machine."""


@benchmark.command()
def recommenders(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with ml-1m, lightgcn-gowalla, …; without it the simulator stands in."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(RECOMMENDERS)}; may be repeated.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Small sizes, in a minute or two: to see that it runs.")
    ] = False,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Speed of Swing, LightGCN, SASRec and full ranking, and how time grows with the data. About half an hour."""
    show_progress()
    unknown = set(only or []) - set(RECOMMENDERS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: none of {', '.join(RECOMMENDERS)}")
    figures: dict[str, float] = {}
    for name in only or RECOMMENDERS:
        log.info("%s …", name)
        measure: Callable[..., dict[str, float]] = import_module(f"jobs.benchmarks.{name}").measure
        found = measure(quick=quick) if name in SIMULATED else measure(data, quick=quick)
        missing = set(RECOMMENDERS[name]) - set(found)
        if missing:
            raise ValueError(f"jobs.benchmarks.{name} did not measure {sorted(missing)}")
        figures |= found
        if to:  # after each: an hour's figures are not lost to a fault of the last
            to.write_text(json.dumps(figures, indent=1))
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    Console().print(table)


if __name__ == "__main__":
    benchmark()
