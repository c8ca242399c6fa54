"""Plots of a sweep: one column for each axis, one row for each measure.

The rows are all users, long-tail items and, if the sweep aims at a slice, this slice.
"""

import io
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PANEL = (2.3, 2.0)
"""Width and height of one panel, in inches."""
MEASURES = {"ndcg": "NDCG@10, all users", "tail_ndcg": "NDCG@10, long tail"}
INK, FAINT, LINE, PAPER = "#1b1c1e", "#6c6f75", "#e3e3df", "#fdfdfb"
JUDGED, CONTROL = "#0063a6", "#b35900"
"""The report's colours of `discriminated` and `itemcf`. Marks of the LLM are filled, marks of the control are hollow.
"""
LOSING = "#9b9b96"
"""The grey of what the recipe's constraint does not allow."""
CURVES: dict[str, dict[str, Any]] = {
    "alone": {"label": "each axis alone", "color": JUDGED, "marker": "o", "markersize": 4},
    "in turn": {
        **{"label": "in turn, from the best before", "color": JUDGED, "linestyle": ":"},
        **{"marker": "s", "mfc": "none", "markersize": 7},
    },
    "control": {
        "label": "control, in turn",
        "color": CONTROL,
        "marker": "D",
        "mfc": PAPER,
        "markersize": 4,
    },
}

Row = dict[str, Any]


def draw(table: pa.Table, recommender: str) -> bytes:
    """A PNG of rows of `sweep.POINTS`. Horizontal lines: the observed log, and the best point of the best control, whose
    curves are drawn."""
    rows = table.to_pylist()
    aim = rows[0]["slice"]
    measures = MEASURES | ({} if aim == "all" else {"aim_ndcg": f"NDCG@10, {aim}"})
    moved = list(dict.fromkeys(row["axis"] for row in rows if row["axis"]))
    size = PANEL[0] * len(moved) + 0.5, PANEL[1] * len(measures) + 0.6
    with matplotlib.rc_context({"font.size": 8.5}):
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        panels = figure.subplots(len(measures), len(moved), sharey="row", sharex="col", squeeze=False)
        for measure, line in zip(measures, panels, strict=True):
            for axis, panel in zip(moved, line, strict=True):
                dress(panel)
                _fill(panel, rows, axis, measure)
            line[0].set_ylabel(measures[measure], color=FAINT)
        for axis, panel in zip(moved, panels[-1], strict=True):
            panel.set_xlabel(axis, color=INK)
        return finished(figure, panels[0], f"{recommender}, on validation")


def finished(figure: Figure, panels: Iterable[Axes], title: str, columns: int | None = None) -> bytes:
    """The figure as a PNG, with a title and one legend of what the panels show, by default in one row."""
    shown = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=columns or len(shown), frameon=False
    )
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def _fill(panel: Axes, rows: list[Row], axis: str, measure: str) -> None:
    own = [row for row in rows if row["axis"] == axis]
    blends = list(dict.fromkeys(_blend(row) for row in own))

    def across(row: Row) -> float:
        return blends.index(_blend(row)) if axis == "blend" else row[axis]

    places = sorted({across(row) for row in own})
    panel.set_xticks(places, blends if axis == "blend" else [f"{place:g}" for place in places])
    if axis == "blend":
        panel.tick_params(axis="x", rotation=40)
    observed = next(row for row in rows if row["search"] == "observed")
    control = max(
        (row for row in rows if row["search"] == "control"),
        key=lambda row: (not row["lost"], row["aim_ndcg"]),
    )
    panel.axhline(_height(observed, measure), color=FAINT, linewidth=1, label="observed")
    panel.axhline(
        _height(control, measure), color=CONTROL, linewidth=1, linestyle="--", label="control, best"
    )
    for search, style in CURVES.items():
        curve = [row for row in own if row["search"] == search]
        if search == "control":
            curve = [row for row in curve if row["variant"] == control["variant"]]
        heights = [_height(row, measure) for row in curve]
        if curve:
            panel.plot([across(row) for row in curve], heights, linewidth=1.1, **style)
    losing = [row for row in own if row["lost"]]
    panel.plot(
        [across(row) for row in losing],
        [_height(row, measure) for row in losing],
        **{"marker": "x", "markersize": 6, "color": LOSING, "linestyle": "none", "zorder": 3},
        label="loses a slice",
    )
    best = [row for row in own if row["best"]][:1]
    panel.plot(
        [across(row) for row in best],
        [_height(row, measure) for row in best],
        **{"marker": "o", "markersize": 11, "mfc": "none", "mec": INK, "linestyle": "none"},
        label="best",
    )


def _blend(row: Row) -> str:
    return "/".join(f"{row[name]:g}" for name in ("likelihood", "agreement", "yes_no"))


def _height(row: Row, measure: str) -> float:
    return np.nan if row[measure] is None else row[measure]


def dress(panel: Axes) -> None:
    """The look of every panel."""
    panel.set_facecolor(PAPER)
    panel.spines[["top", "left", "right"]].set_visible(False)
    panel.spines["bottom"].set_color(LINE)
    panel.tick_params(colors=FAINT, length=0)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    panel.grid(axis="y", color=LINE, linewidth=0.6)
    panel.set_axisbelow(True)
