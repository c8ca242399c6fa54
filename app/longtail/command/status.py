"""`longtail status`: the published parts of a workspace, in the order of a run."""

import time
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.errors import InputError
from longtail.progress import duration
from longtail.workspace import STAGES, Workspace

ORDER = list(STAGES)
NAME, OTHERS = 30, 60
"""The minimum width of a name, and the width for all other columns if the console has it, in characters."""


def status(uri: str, columns: int) -> Table | str:
    """A table of every published part, with how long it took, how old it is, and its counts; or a sentence if there is none.

    columns: those of the console. Raises InputError if there is no run.
    """
    ws = Workspace(uri)
    parts = ws.manifests()
    if not parts and ws.saved_recipe() is None:
        raise InputError(
            f"{uri}: there is no run here. Give the folder or URI that a run had as --workspace, e.g. runs/demo."
        )
    if not parts:
        return f"{ws}: a run was started, but nothing is published yet."
    table = Table(title=str(ws), box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    # Counts get narrower first. A long name is wrapped and not cut, because cut names may look alike.
    table.add_column("part", overflow="fold", width=min(max(NAME, columns - OTHERS), max(map(len, parts))))
    table.add_column("took", no_wrap=True)
    table.add_column("age", no_wrap=True)
    table.add_column("counts", overflow="fold")
    for place in sorted(parts, key=_order):
        manifest = parts[place]
        age = duration(max(0.0, time.time() - manifest["finished"])) if "finished" in manifest else ""
        table.add_row(place, duration(manifest["seconds"]), age, _counts(manifest["counts"]))
    return table


def _order(place: str) -> tuple[int, str]:
    """Stages in their order, what one stage makes by name."""
    top = place.partition("/")[0]
    return (ORDER.index(top) if top in ORDER else len(ORDER), place)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_number(value)}"
        for name, value in counts.items()
        if not isinstance(value, dict | list)
    )


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
