"""The page of an ablation: what was varied, what each point cost, the curves, and a table for each slice."""

from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from longtail.progress import duration
from longtail.search.ablation_table import SHOWN, Measured
from longtail.variants import label

BASES = ("observed", "best", "first")
"""The differences that the page shows. The control's own is in the table."""
SURE = 0.05
_PAGES = Environment(
    loader=PackageLoader("longtail.search", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def render(table: pa.Table, points: list[Measured], faults: dict[str, str], curves: list[str]) -> str:
    """The page as HTML. faults: the failed points with their reasons. curves: the recommenders that have a plot."""
    rows = table.to_pylist()
    of_point = {row["point"]: row for row in rows}
    return _PAGES.get_template("ablation.html").render(
        name=points[0].recipe.name,
        keys=list(points[0].point.changes),
        points=[
            {"values": list(one.point.changes.values())} | _cost(of_point[one.point.name]) for one in points
        ],
        faults=faults,
        curves=curves,
        slices=_slices(rows, list(points[0].point.changes)),
    )


def _cost(row: dict[str, Any]) -> dict[str, str]:
    counts = {name: f"{row[name]:,}" for name in ("requests", "requests_alone", "tokens", "tokens_alone")}
    return counts | {name: duration(row[name]) for name in ("seconds_alone", "seconds_shared")}


def _slices(rows: list[dict[str, Any]], keys: list[str]) -> dict[str, list[dict[str, Any]]]:
    """For each slice its lines: a line for each point, recommender and variant, with a cell for each metric and base."""
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for row in rows:
        at = (*(row[key] for key in keys), row["recommender"], label(row["variant"]))
        line = found.setdefault(row["slice"], {}).setdefault(
            at, {"head": at, "n": f"{row['n']:,}", "cells": {}}
        )
        line["cells"][row["metric"], "value"] = f"{row['value']:.4f}"
        for base in BASES:
            line["cells"][row["metric"], base] = _difference(row, base)
    order = [(metric, cell) for metric in reversed(SHOWN) for cell in ("value", *BASES)]
    return {
        name: [line | {"cells": [line["cells"][cell] for cell in order]} for line in lines.values()]
        for name, lines in found.items()
    }


def _difference(row: dict[str, Any], base: str) -> dict[str, Any] | None:
    """A difference with its interval, and whether it is sure: the adjusted p decides if there is one, else the interval."""
    value, low, high = (row[f"over_{base}{part}"] for part in ("", "_low", "_high"))
    if value is None or low is None:
        return None
    sure = low > 0 or high < 0
    if base == "best":
        sure = row["p_adjusted"] is not None and row["p_adjusted"] < SURE
    return {"words": f"{value:+.4f}", "interval": f"{low:+.4f} to {high:+.4f}", "sure": sure}
