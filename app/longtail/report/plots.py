"""The plots of the page: inline SVG, with the colours and the font of the page's style sheet.

Matplotlib draws in placeholder colours, which are then replaced by CSS variables. So one plot works on a light and on a
dark page.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from longtail.variants import COLOURS, VARIANTS, label

WIDTH, ROW, FOOT, FONT = (
    5.0,
    0.235,
    0.42,
    11.5,
)  # inches and points; the page shows a point as about a CSS pixel
GAP = 0.5  # rows left free above a heading
NAMES, FIGURES = 0.27, 0.83  # the axis spans this part of the width, names stand left of it, figures right
LEFT, RIGHT = (
    -NAMES / (FIGURES - NAMES),
    (1 - NAMES) / (FIGURES - NAMES),
)  # edges of the picture in widths of the axis

BARS = 0.46  # bars of shares begin at this part of the width, their names stand left of it
CHART = 2.4  # height of a chart in inches
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "longtail", "font.size": FONT}

INK, FAINT, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
STAND_INS = {name: f"#05050{place}" for place, name in enumerate(COLOURS)}
"""The placeholder of each colour of variants. A mark is filled if the estimate is sure; marks of controls are hollow."""
ACCENT = STAND_INS["discriminated"]
VARIABLES = {INK: "ink", FAINT: "faint", LINE: "line", PAPER: "paper"} | {
    stand_in: name for name, stand_in in STAND_INS.items()
}


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval and the figure beside it. If it is not `sure`, the mark is hollow, the figure faint."""

    variant: str
    value: float
    low: float
    high: float
    figure: str
    sure: bool = True


@dataclass(frozen=True)
class Group:
    """Estimates drawn below each other. A heading, if it is not empty, stands above them, with a faint note."""

    heading: str
    note: str
    estimates: Sequence[Estimate]


def forest(groups: Sequence[Group], tick: Callable[[float], str], faint: bool = False) -> str:
    """A forest plot as SVG for an HTML page: one row per estimate, in the given order.

    tick: makes the label of a value on the axis. faint: all in grey, for figures of too few targets.
    """
    heads = sum(bool(group.heading) for group in groups)
    rows = sum(len(group.estimates) for group in groups) + (1 + GAP) * heads
    with matplotlib.rc_context(STYLE):
        height = ROW * rows + FOOT
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((NAMES, FOOT / height, FIGURES - NAMES, 1 - FOOT / height))
        axes.set_ylim(rows - 0.5, -0.5)
        y = 0.0
        for group in groups:
            if group.heading:
                _head(axes, y + GAP, group)
                y += 1 + GAP
            for estimate in group.estimates:
                _draw(axes, y, estimate, faint)
                y += 1
        _dress(axes, tick)
        return _svg(figure)


def _head(axes: Axes, y: float, group: Group) -> None:
    beside = axes.get_yaxis_transform()
    axes.text(LEFT, y, group.heading, transform=beside, color=INK, va="center", weight="bold")
    axes.text(RIGHT, y, group.note, transform=beside, color=FAINT, ha="right", va="center")


def _draw(axes: Axes, y: float, estimate: Estimate, faint: bool) -> None:
    variant = VARIANTS[estimate.variant]
    colour = FAINT if faint else STAND_INS[variant.colour]
    filled = estimate.sure and not variant.is_control
    axes.plot(
        [estimate.low, estimate.high], [y, y], color=colour, linewidth=1.1 if variant.is_control else 1.6
    )
    axes.plot(
        estimate.value,
        y,
        marker=variant.mark,
        markersize=6,
        markerfacecolor=colour if filled else PAPER,
        markeredgecolor=colour,
        markeredgewidth=1.3,
    )
    beside = axes.get_yaxis_transform()
    name = label(estimate.variant)
    axes.text(-0.03, y, name, transform=beside, color=FAINT if faint else INK, ha="right", va="center")
    ink = INK if estimate.sure and not faint else FAINT
    axes.text(RIGHT, y, estimate.figure, transform=beside, color=ink, ha="right", va="center")


def _dress(axes: Axes, tick: Callable[[float], str]) -> None:
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))
    axes.tick_params(axis="x", colors=FAINT, length=0)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(0, color=FAINT, linewidth=1)
    axes.margins(x=0.06)


def loss_curve(training: Sequence[Sequence[float]], validation: Sequence[Sequence[float]]) -> str:
    """A plot of (step, loss): training as a faint line, validation as joined points, of which the lowest is filled."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _chart("step", "loss")
        axes.plot(*zip(*training, strict=True), color=FAINT, linewidth=1.3)
        if validation:
            axes.plot(*zip(*validation, strict=True), color=ACCENT, linewidth=1.1)
            best = min(validation, key=lambda point: point[1])
            for point in validation:
                axes.plot(*point, "o", markersize=4.5, mec=ACCENT, mfc=ACCENT if point == best else PAPER)
        axes.set_xlim(left=0)
        return _svg(figure)


def frontiers(lines: Mapping[str, Sequence[tuple[float, float, bool]]], across: str, up: str) -> str:
    """One line of (x, y, chosen) for each name, which stands at its last point; chosen points are filled."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _chart(across, up)
        for name, points in lines.items():
            axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=ACCENT, linewidth=1.1)
            for x, y, chosen in points:
                axes.plot(x, y, "o", markersize=4.5, mec=ACCENT, mfc=ACCENT if chosen else PAPER)
            axes.annotate(name, points[-1][:2], (5, 4), textcoords="offset points", color=INK)
        axes.margins(x=0.12, y=0.12)
        return _svg(figure)


def reliability_diagram(bins: Sequence[Mapping[str, float | None]]) -> str:
    """A plot of the share of taken items over the mean P(Yes): one point per bin, whose area grows with its answers."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _chart("P(Yes), mean of a tenth of its range", "share taken")
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        filled = [one for one in bins if one["count"]]
        axes.plot(
            [one["mean"] for one in filled], [one["share"] for one in filled], color=ACCENT, linewidth=1.1
        )
        most = max((one["count"] for one in filled), default=1)
        for one in filled:
            size = 3 + 9 * (one["count"] / most) ** 0.5
            axes.plot(one["mean"], one["share"], "o", markersize=size, mec=PAPER, mfc=ACCENT)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.04, 1.04)
        return _svg(figure)


def share_bars(rows: Sequence[tuple[str, Sequence[float]]], parts: Sequence[str]) -> str:
    """One stacked bar from 0 to 1 per row, which is (label, shares of `parts`). Later parts, which are rarer, are
    darker.
    """
    with matplotlib.rc_context(STYLE):
        height = ROW * (len(rows) + 1.5) + FOOT
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((BARS, FOOT / height, 0.98 - BARS, 1 - FOOT / height))
        axes.set_ylim(len(rows) - 0.4, -1.6)
        for place, part in enumerate(parts):
            shade = (place + 0.6) / len(parts)
            x = place / len(parts)
            axes.plot(x + 0.02, -1, "s", markersize=8, mec=ACCENT, mew=0, mfc=ACCENT, alpha=shade)
            axes.text(x + 0.05, -1, part, color=FAINT, va="center")
            for y, (_, shares) in enumerate(rows):
                left = sum(shares[:place])
                axes.barh(
                    y, shares[place], left=left, height=0.68, facecolor=ACCENT, edgecolor="none", alpha=shade
                )
        beside = axes.get_yaxis_transform()
        for y, (name, _) in enumerate(rows):
            axes.text(-0.02, y, name, transform=beside, color=INK, ha="right", va="center")
        axes.set_xlim(0, 1)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.set_yticks([])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
        axes.tick_params(axis="x", colors=FAINT, length=0)
        return _svg(figure)


def _chart(across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, CHART))
    axes = figure.add_axes((0.13, 0.21, 0.83, 0.76))
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(colors=FAINT, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(across, color=FAINT)
    axes.set_ylabel(up, color=FAINT)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The figure as SVG without size and fixed colours: both come from the page's style sheet."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return re.sub("|".join(VARIABLES), lambda found: f"var(--{VARIABLES[found.group()]})", svg)
