"""Benchmarks: figures that a user can check, ratios of paired runs on this machine, ours against the best alternative.

python -m jobs.benchmark recommenders --data FOLDER/WITH/DATA/SETS --json figures.json
python -m jobs.benchmark finetune --json figures.json
python -m jobs.benchmark augment --json figures.json
python -m jobs.benchmark serving --json figures.json
python -m jobs.benchmark soak --minutes 20 --json figures.json
"""

import json
import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from longtail.command.log import results, speaking

log = logging.getLogger("longtail")

RECOMMENDERS = {
    "swing": ("swing_over_python", "swing_time_over_implicit_cosine", "swing_visit_cost_growth"),
    "lightgcn": ("lightgcn_over_pyg", "lightgcn_two_over_one"),
    "sasrec": ("sasrec_over_plain",),
    "ranking": ("ranking_over_implicit", "ranking_rss_gib"),
    "growth": ("growth_exponent",),
}
"""Modules of `jobs.benchmarks`, and the figures that each must return. A module may return more."""
SIMULATED = ("ranking", "growth")
"""The modules that make their data themselves."""
FINETUNE = {"finetune": ("deepspeed_over_plain", "two_over_one", "zero3_memory_over_zero0")}
AUGMENT = {
    "augment": (
        *("topk_over_engine", "title_over_engine", "judge_over_engine"),
        *("topk_over_title_proposals", "driver_memory_1m_over_10k"),
    )
}
SERVING = {
    "serving": ("throughput_over_noop", "p99_over_noop", "requests_per_core_second"),
    "serving_inside": ("inside_p99_ms",),
    "serving_memory": ("memory_per_replica_over_first",),
}
SOAK = {"soak": ("soak_requests", "soak_requests_per_second", "soak_not_200", "soak_memory_growth")}

Quick = Annotated[bool, typer.Option(help="Small sizes, one or two minutes: only to see that it works.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Measure = Callable[..., dict[str, float]]

benchmark = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_show_locals=False)


@benchmark.callback()
def _commands() -> None:
    """Figures that a user can check: ratios of paired runs on this machine."""


@benchmark.command()
def recommenders(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with ml-1m, lightgcn-gowalla, …; without it, simulated data is used."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(RECOMMENDERS)}; may be repeated.")
    ] = None,
    quick: Quick = False,
    to: Json = None,
) -> None:
    """Speed of Swing, LightGCN, SASRec and full ranking, and how time grows with the data. About half an hour."""
    unknown = set(only or []) - set(RECOMMENDERS)
    if unknown:
        raise typer.BadParameter(f"{sorted(unknown)}: none of {', '.join(RECOMMENDERS)}")

    def measure(name: str, module: Measure) -> dict[str, float]:
        return module(quick=quick) if name in SIMULATED else module(data, quick=quick)

    _tell({name: RECOMMENDERS[name] for name in only or RECOMMENDERS}, measure, to)


@benchmark.command()
def finetune(quick: Quick = False, to: Json = None) -> None:
    """Fine-tuning: Ray Train and DeepSpeed over plain PyTorch, two workers over one, memory under ZeRO 3. Minutes."""
    _tell(FINETUNE, lambda _, module: module(quick=quick), to)


@benchmark.command()
def augment(quick: Quick = False, to: Json = None) -> None:
    """Augmentation over the vLLM engine alone, item tokens over titles, the driver's memory. About half an hour."""
    _tell(AUGMENT, lambda _, module: module(quick=quick), to)


@benchmark.command()
def serving(quick: Quick = False, to: Json = None) -> None:
    """The endpoint over HTTP against a deployment that does nothing; one answer; a second replica. Ten minutes."""
    _tell(SERVING, lambda _, module: module(quick=quick), to)


@benchmark.command()
def soak(
    minutes: Annotated[float, typer.Option(min=1, help="How long it is asked.")] = 20,
    quick: Quick = False,
    to: Json = None,
) -> None:
    """The endpoint under mixed requests for a long time: errors, and whether its memory grows."""
    _tell(SOAK, lambda _, module: module(quick=quick, minutes=minutes), to)


def _tell(
    asked: dict[str, tuple[str, ...]],
    measure: Callable[[str, Measure], dict[str, float]],
    to: Path | None,
) -> None:
    """Measure each module's figures, write them to `to`, and print them. Raises ValueError if a figure is missing."""
    figures: dict[str, float] = {}
    with speaking():
        for name, expected in asked.items():
            log.info("%s …", name)
            found = measure(name, import_module(f"jobs.benchmarks.{name}").measure)
            missing = set(expected) - set(found)
            if missing:
                raise ValueError(f"jobs.benchmarks.{name} did not measure {sorted(missing)}")
            figures |= found
            if to:  # after each module, so that an error in the last one does not lose the others' figures
                to.write_text(json.dumps(figures, indent=1))
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    results().print(table)


if __name__ == "__main__":
    benchmark()
