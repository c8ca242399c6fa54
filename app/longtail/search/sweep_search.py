"""The search of a sweep for one recommender: which points are tried, which one is the best, and their table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from longtail.augment.judge import SCORES
from longtail.evaluation.constrained_choice import CHANGES, Change, best_within, lost, shortfall
from longtail.recipe import Constraint, Judge, Slice
from longtail.search.frontier import WATCHED, FrontierPoint
from longtail.search.sweep_points import MEASURES, OBSERVED, Point, Points, Setting
from longtail.variants import VARIANTS, TrainedVariant

AXES = ("blend", "keep", "weight", "tail_share", "threshold")
"""The axes in the order of the search: scores, items per user, weight, share of long-tail items, least score."""
JUDGE = tuple(name for name in Judge.model_fields if name != "relative")

POINTS = pa.schema(
    [
        ("search", pa.string()),  # observed | recipe | alone | in turn | control (in turn, too)
        ("axis", pa.string()),  # the one that is moved
        ("slice", pa.string()),  # what is aimed at, the same in all rows
        ("variant", pa.string()),
        *((name, pa.int32() if name == "keep" else pa.float64()) for name in JUDGE),
        ("added", pa.int64()),  # generated interactions
        *((name, pa.float64()) for name in MEASURES),
        *((f"t_{name}", pa.float64()) for name in MEASURES),  # paired, against observed
        *(
            (f"t_control_{name}", pa.float64()) for name in MEASURES
        ),  # against the best point of the best control
        ("changes", CHANGES),  # against observed, on the slices of the constraint
        ("lost", pa.list_(pa.string())),  # the slices of the constraint that it loses
        ("best", pa.bool_()),
        ("seconds", pa.float64()),
    ]
)
"""One row for each point of each curve. A point that is on several curves has several rows."""
UNCONSTRAINED = Constraint(slices=[])


class Search:
    """The search for one recommender: its points, in the order in which they are evaluated."""

    def __init__(
        self,
        points: Points,
        start: Judge,
        axes: dict[str, list[Any]],
        slice_: Slice = "all",
        controls: Mapping[str, Judge] = MappingProxyType({}),
        constraint: Constraint = UNCONSTRAINED,
    ) -> None:
        """start, and controls by name: the judges from which the searches start."""
        self.points, self.start, self.axes, self.slice = points, start, axes, slice_
        self.controls, self.constraint = controls, constraint
        self.changes: dict[str, list[Change]] = {}
        """Of every point, by its ranks: how it changes the slices of the constraint against observed."""
        self.found: list[tuple[str, str | None, Point]] = []

    def run(self, near: bool) -> tuple[Point, list[Point]]:
        """Returns the best point (the recipe's own if none is better), and that of each control. If no point meets the
        constraint, it is the observed one.

        near: search the axes only in turn, and on each axis except the blend try only the next lower and the next
        higher value.
        """
        alone = (
            [] if near else [("alone", axis, one) for axis in AXES for one in self._moved(self.start, axis)]
        )
        own = Setting("discriminated", self.start)
        self._ask([("observed", None, OBSERVED), ("recipe", None, own), *alone])
        best = self._in_turn("in turn", own, near)
        controls = [self._in_turn("control", Setting(*one), near) for one in self.controls.items()]
        return best, controls

    def _in_turn(self, search: str, start: Setting, near: bool) -> Point:
        """The best point of a variant if the axes are searched in turn, `start` if none is better.

        On an axis on which no point meets the constraint, the search goes on from the one that falls short least.
        """
        judge, found = start.judge, self.points.evaluate([start])
        self._compare(found)
        for axis in AXES:
            moved = self._moved(judge, axis, near, start.variant)
            asked = self._ask([(search, axis, one) for one in moved])
            judge = max(
                asked, key=lambda point: (-self._short(point), aim(point), point.setting.judge == judge)
            ).setting.judge
            found += asked
        best = best_within([aim(point) for point in found], [self._short(point) for point in found])
        return self._observed if best is None else found[best]

    def table(self, best: Point, control: Point) -> pa.Table:
        """The found points as rows of POINTS, with their paired t against observed and against `control`."""
        points = [point for _, _, point in self.found]
        tests = [self.points.paired(points, against) for against in (self._observed, control)]
        rows = []
        for (search, axis, point), *ts in zip(self.found, *tests, strict=True):
            row = {"search": search, "axis": axis, "slice": self.slice, "best": point is best}
            row["variant"] = point.setting.variant
            row |= point.setting.judge.model_dump(include=set(JUDGE)) if point.setting.judge else {}
            row |= point.values | {"added": point.added, "seconds": point.seconds}
            changes = self._changes(point)
            row |= {
                "changes": [one.told() for one in changes],
                "lost": lost(changes, self.constraint),
            }
            for prefix, t in zip(("t_", "t_control_"), ts, strict=True):
                row |= {prefix + name: value for name, value in t.items()}
            rows.append(row)
        return pa.Table.from_pylist(rows, POINTS)

    def summary(self, best: Point, control: Point) -> dict[str, float]:
        """NDCG@10 in the slice that is aimed at, for the manifest. `free`: of the best point without the constraint."""
        searched = [point for search, _, point in self.found if search in ("recipe", "in turn")]
        named = {"best": best, "free": max(searched, key=aim), "recipe": searched[0]}
        named |= {"observed": self._observed, "control": control}
        return {f"NDCG@10 {name}": aim(point) for name, point in named.items()}

    @property
    def _observed(self) -> Point:
        return self.found[0][2]

    def frontier(self, best: Point) -> list[FrontierPoint]:
        """Every point that was found, once."""
        once = {point.ranks.path: point for _, _, point in self.found}
        return [
            FrontierPoint(
                point.values["ndcg"],
                self._changes(point),
                kept=not self._short(point),
                chosen=point is best,
                base=point is self._observed,
                control=VARIANTS[point.setting.variant].is_control,
            )
            for point in once.values()
        ]

    def _ask(self, asked: list[tuple[str, str | None, Setting]]) -> list[Point]:
        points = self.points.evaluate([setting for _, _, setting in asked])
        self.found += [(*one[:2], point) for one, point in zip(asked, points, strict=True)]
        self._compare(points)
        return points

    def _compare(self, points: list[Point]) -> None:
        """Find how these points change the slices, for those of which it is not known."""
        due = {point.ranks.path: point for point in points if point.ranks.path not in self.changes}
        slices = self.constraint.slices or WATCHED
        found = self.points.changes([*due.values()], self._observed, slices) if due else []
        self.changes |= dict(zip(due, found, strict=True))

    def _changes(self, point: Point) -> list[Change]:
        return self.changes[point.ranks.path]

    def _short(self, point: Point) -> float:
        return shortfall(self._changes(point), self.constraint)

    def _moved(
        self, judge: Judge, axis: str, near: bool = False, variant: TrainedVariant = "discriminated"
    ) -> list[Setting]:
        """The judge with each value of an axis, its own value and the recipe's included.

        Blends keep the order of the recipe; other values are sorted.
        """
        own = _value(judge, axis)
        values = list(dict.fromkeys([own, _value(self.start, axis), *self.axes[axis]]))
        if axis != "blend":
            values.sort()
            place = values.index(own)
            values = values[max(0, place - 1) : place + 2] if near else values
        changes = [dict(zip(SCORES, one, strict=True)) if axis == "blend" else {axis: one} for one in values]
        return [Setting(variant, judge.model_copy(update=change)) for change in changes]


def _value(judge: Judge, axis: str) -> Any:
    return tuple(getattr(judge, name) for name in SCORES) if axis == "blend" else getattr(judge, axis)


def aim(point: Point) -> float:
    """NDCG@10 in the slice that the sweep aims at."""
    return point.values["aim_ndcg"]
