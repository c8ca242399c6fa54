"""Plots of an ablation: for each recommender one figure, with a column for each varied key and a row for each slice.

The curves of a column hold the other keys at their values in the first point. Faint lines show the other combinations.
"""

from typing import Any

import matplotlib
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longtail.search.ablation_table import SLICES
from longtail.search.sweep_plots import FAINT, INK, PAPER, dress, finished
from longtail.variants import COLOURS, VARIANTS, label

METRIC = "ndcg"
PANEL = (3.2, 2.1)
"""Width and height of one panel, in inches."""
Row = dict[str, Any]


def draw(table: pa.Table, keys: list[str]) -> dict[str, bytes]:
    """A PNG for each recommender, from the rows of an ablation's table. keys: the varied ones.

    A bar is the 95 % interval of the difference from observed, drawn around the value; for `observed` itself it is that
    of the difference from the first point.
    """
    rows = [row for row in table.to_pylist() if row["metric"] == METRIC]
    names = dict.fromkeys(row["recommender"] for row in rows)
    return {name: _figure(name, [row for row in rows if row["recommender"] == name], keys) for name in names}


def _figure(recommender: str, rows: list[Row], keys: list[str]) -> bytes:
    slices = [name for name in SLICES if any(row["slice"] == name for row in rows)]
    size = PANEL[0] * len(keys) + 0.6, PANEL[1] * len(slices) + 0.9
    with matplotlib.rc_context({"font.size": 8.5}):
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        panels = figure.subplots(len(slices), len(keys), sharey="row", sharex="col", squeeze=False)
        for name, line in zip(slices, panels, strict=True):
            own = [row for row in rows if row["slice"] == name]
            for key, panel in zip(keys, line, strict=True):
                dress(panel)
                _fill(panel, own, key, [other for other in keys if other != key])
            line[0].set_ylabel(f"NDCG@10, {name}", color=FAINT)
        for key, panel in zip(keys, panels[-1], strict=True):
            panel.set_xlabel(key, color=INK)
        return finished(figure, panels[0, :1], recommender, columns=4)


def _fill(panel: Axes, rows: list[Row], key: str, others: list[str]) -> None:
    places = list(dict.fromkeys(row[key] for row in rows))
    panel.set_xticks(range(len(places)), [_tick(place) for place in places])
    start = tuple(rows[0][other] for other in others)
    curves: dict[tuple[str, tuple[Any, ...]], list[Row]] = {}
    for row in rows:
        curves.setdefault((row["variant"], tuple(row[other] for other in others)), []).append(row)
    for (variant, held), curve in curves.items():
        across, heights = [places.index(row[key]) for row in curve], [row["value"] for row in curve]
        colour, mark = _look(variant)
        if held != start:
            panel.plot(across, heights, color=colour, linewidth=0.6, alpha=0.35)
            continue
        base = "first" if variant == "observed" else "observed"
        panel.errorbar(
            across,
            heights,
            yerr=[[_reach(row, base, end) for row in curve] for end in ("low", "high")],
            **{"color": colour, "marker": mark, "markersize": 4, "linewidth": 1.2, "elinewidth": 0.8},
            mfc=PAPER if VARIANTS[variant].is_control else colour,
            label=label(variant),
        )


def _look(variant: str) -> tuple[str, str]:
    found = VARIANTS[variant]
    return (COLOURS[found.colour].light, found.mark) if found.colour else (FAINT, "_")


def _reach(row: Row, base: str, end: str) -> float:
    """The length of an interval from its value to one end; 0 if there is none."""
    edge, value = row[f"over_{base}_{end}"], row[f"over_{base}"]
    return 0.0 if edge is None else max(0.0, edge - value if end == "high" else value - edge)


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
