"""The plot of a search: what all users gain against what a slice gains or loses, for every candidate."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longtail.evaluation.constrained_choice import Change
from longtail.recipe import Constraint
from longtail.search.sweep_plots import CONTROL, FAINT, INK, JUDGED, LOSING, PAPER, dress, finished

WATCHED = ("tail",)
"""The slices that are drawn if the constraint is switched off."""
PANEL = (3.6, 3.0)
"""Width and height of one panel, in inches."""


@dataclass(frozen=True)
class FrontierPoint:
    """One candidate. ndcg: NDCG@10 of all users on validation; changes: on the slices, against the base.

    kept: whether it meets the constraint; chosen; base: whether it is what all are held against; control: whether a control
    was made with it.
    """

    ndcg: float
    changes: Sequence[Change]
    kept: bool
    chosen: bool = False
    base: bool = False
    control: bool = False


KINDS = (
    ("loses a slice", LOSING, lambda one: not one.kept),
    ("control", CONTROL, lambda one: one.kept and one.control),
    ("meets the constraint", JUDGED, lambda one: one.kept and not one.control),
)


def draw_frontier(points: Sequence[FrontierPoint], name: str, constraint: Constraint) -> bytes:
    """A PNG with a panel for each slice: all users to the right, the slice upwards. A point meets the constraint if its bar,
    of `within_se` standard errors, reaches 0 in every panel; the others are grey.
    """
    slices = [one.slice for one in points[0].changes]
    size = PANEL[0] * len(slices) + 0.4, PANEL[1] + 0.7
    with matplotlib.rc_context({"font.size": 8.5}):
        figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
        panels = figure.subplots(1, len(slices), squeeze=False)[0]
        for number, (slice_, panel) in enumerate(zip(slices, panels, strict=True)):
            dress(panel)
            panel.xaxis.set_major_locator(MaxNLocator(4))
            _fill(panel, points, number, constraint.within_se)
            panel.set_xlabel("NDCG@10, all users", color=FAINT)
            panel.set_ylabel(f"change of NDCG@10, {slice_}", color=FAINT)
        return finished(figure, panels[:1], f"{name}, on validation")


def _fill(panel: Axes, points: Sequence[FrontierPoint], number: int, within_se: float) -> None:
    """The panel of the slice with this number."""
    panel.axhline(0, color=FAINT, linewidth=1)
    for label, colour, of_kind in KINDS:
        some = [one for one in points if of_kind(one)]
        changes = [one.changes[number] for one in some]
        if some:
            panel.errorbar(
                [one.ndcg for one in some],
                [one.difference for one in changes],
                yerr=[within_se * one.error for one in changes],
                **{"fmt": "o", "markersize": 4, "color": colour, "elinewidth": 0.7, "label": label},
            )
    marks = {"held against": ("s", lambda one: one.base), "chosen": ("o", lambda one: one.chosen)}
    for label, (marker, marked) in marks.items():
        some = [one for one in points if marked(one)]
        panel.plot(
            [one.ndcg for one in some],
            [one.changes[number].difference for one in some],
            **{"marker": marker, "markersize": 11, "mfc": "none", "mec": INK, "linestyle": "none"},
            label=label,
        )
