"""The ablation: a grid of recipes, run in one workspace, in which nothing is made or asked twice.

Each point of the grid has a workspace of its own in `ablation/points`, under the lease of the run. All points share the
ledger. A stage that the run or another point has published with the same fingerprint is taken over. So to vary the judge
costs no LLM call, and to vary a recommender tunes no LLM again. What ended stays: a second call continues.

An ablation explains a method on the test items. It must not choose one: `tune` and `sweep` choose, on validation.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv

from longtail.errors import InputError, bad_input
from longtail.evaluation.evaluated_runs import evaluated
from longtail.progress import FIGURES
from longtail.recipe import GridPoint, Recipe
from longtail.runtime.cluster import connect
from longtail.search.ablation_page import render
from longtail.search.ablation_plots import draw
from longtail.search.ablation_table import Measured, table_of
from longtail.workspace import Workspace
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

MEANING = 1
"""The version of the table. Raise it if equal evaluations give other rows."""
LONGEST_PLACE = 200
"""Bytes of the path of a table. File systems allow 255 in a name, and a draft adds some to it."""


@dataclass(frozen=True)
class Ablation:
    """What `ablate` made. place: the published table, None if every point failed. faults: the failed points, each with
    the reason.
    """

    place: Place | None
    faults: dict[str, str]


def ablate(
    recipe: Recipe, ws: Workspace, points: list[GridPoint], measure: Callable[[Recipe, Workspace], None]
) -> Ablation:
    """Run all points, then publish `ablation/<varied keys>`: `table.parquet`, `table.csv`, `curves/`, `index.html`.

    measure: runs all stages of a recipe up to its evaluation. A point that raises InputError is reported and left out; the
    others go on. Raises InputError, before any work, if the keys are too many for the name of a folder.
    """
    place = "ablation/" + "+".join(points[0].changes)
    if len(place.encode()) > LONGEST_PLACE:
        raise InputError(f"--vary: {len(points[0].changes)} keys are too many. Vary fewer at a time.")
    ws.claim()
    lent, found, faults = ws.lends(), [], {}
    for number, point in enumerate(points, start=1):
        figures = {"point": number, "points": len(points), "about": point.name}
        log.info("point %d of %d: %s", number, len(points), point, extra={FIGURES: figures})
        own = point.recipe.model_copy(update={"ledger": point.recipe.ledger or _ledger(recipe, ws)})
        inner = ws.point(point.name, own.model_dump(mode="json"), lent)
        try:
            measure(own, inner)
            found.append(Measured(point, own, inner))
        except Exception as error:
            fault = bad_input(error)
            if fault is None:
                raise
            log.error("point %d of %d, %s: %s", number, len(points), point, fault)
            faults[str(point)] = str(fault)
        lent |= inner.lends()
    return Ablation(_publish(ws, place, found, faults) if found else None, faults)


def _ledger(recipe: Recipe, ws: Workspace) -> str:
    return recipe.ledger or (ws / "ledger").uri


def _publish(ws: Workspace, place: str, found: list[Measured], faults: dict[str, str]) -> Place:
    settings = {
        "points": [one.point.changes for one in found],
        "bootstrap": found[0].recipe.evaluation.bootstrap,
        "seed": found[0].recipe.seed,
        "failed": list(faults),
    }
    inputs = [one.ws / run.evaluation for one in found for run in evaluated(one.recipe)]
    stage = ws.stage(place, settings, inputs, MEANING)
    if not stage.up_to_date:
        connect(found[0].recipe.resources)
        with stage.publishing() as draft:
            table = table_of(found)
            (draft / "table.parquet").write_table(table)
            (draft / "table.csv").write_bytes(_csv(table))
            curves = draw(table, list(found[0].point.changes))
            for name, image in curves.items():
                (draft / f"curves/{name}.png").write_bytes(image)
            (draft / "index.html").write_bytes(render(table, found, faults, list(curves)).encode())
            stage.counts = {"points": len(found), "failed": len(faults), "rows": table.num_rows}
    return stage.place


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()
