"""The sweep: the effect of the judge's settings on each recommender, on validation, from one ledger, without LLM
calls.

First each axis is moved alone around the recipe's judge. This gives the curves of LLM-I2I (arXiv 2512.21595, figures
on the amount of synthetic data and on the required confidence): with more data, recall first rises and then falls.
Then the axes are searched in turn, each from the best values of the axes before. Only this search chooses, and every
control of `sweep.controls` gets the same one, so that a tuned variant is not compared with an untuned control. A
control copies the amounts that the LLM has under the judge of its point. Best always means the highest NDCG@10 in the
slice that the sweep aims at. The validation figures of the best setting are optimistic, because it was chosen by them:
only the test items show its effect.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import yaml

from longtail.augment.judge import SCORES
from longtail.errors import InputError
from longtail.recipe import Judge, Recipe, Slice
from longtail.recommenders.trained_section import TrainedSection
from longtail.runtime.cluster import connect
from longtail.search.sweep_plots import draw
from longtail.search.sweep_points import (
    MEASURES,
    OBSERVED,
    Point,
    Points,
    Setting,
    capped,
    stand_in_places,
)
from longtail.variants import TrainedVariant
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

MEANING = 3
"""The version of this search's output. Raise it if equal answers and settings give different results."""
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
        ("best", pa.bool_()),
        ("seconds", pa.float64()),
    ]
)
"""One row for each point of each curve. A point that is on several curves has several rows."""


def sweep(recipe: Recipe, ws: Workspace, only: str | None = None) -> dict[str, Place]:
    """Publish `sweep/<recommender>` for each recommender of the recipe, or only for the one in `only`.

    It has `points.parquet`, `curves.png` and `best.yaml`, the part of a recipe that sets the best judge. Returns these
    places, by recommender. Raises InputError if a recommender is not fitted on `discriminated`, if the workspace has no
    answers of next_item, and if no user has a validation item.
    """
    names = _names(recipe, only)
    stand_ins = {place for control in recipe.sweep.controls for place in stand_in_places(recipe, control)}
    inputs = [ws.require(place) for place in ("data", "augmentation/next_item", *sorted(stand_ins))]
    if not read_manifest(inputs[0])["counts"]["valid"]:
        raise InputError(f"{ws}: no user has a validation item to sweep on. Set dataset.valid_share above 0.")
    judged = read_manifest(inputs[1])["counts"]["judge_questions"] > 0
    return {name: _swept(recipe, ws, name, inputs, judged) for name in names}


def _names(recipe: Recipe, only: str | None) -> list[str]:
    chosen = recipe.recommenders
    if only is not None and only not in chosen:
        raise InputError(f"--recommender {only}: the recipe has {', '.join(chosen)}.")
    names = [only] if only else list(chosen)
    fitted = [name for name in names if "discriminated" in (chosen[name].variants or recipe.variants)]
    if not fitted:
        raise InputError(
            f"{only or 'the recipe'}: not fitted on the variant 'discriminated', whose judge is swept. Add it to variants."
        )
    return fitted


def _swept(recipe: Recipe, ws: Workspace, name: str, inputs: list[Place], judged: bool) -> Place:
    """Search and publish, if the published result is not up to date."""
    axes = _axes(recipe, judged)
    settings = {
        "axes": axes,
        "slice": recipe.sweep.slice,
        "judges": [recipe.judge.model_dump(), recipe.judge_of(name).model_dump()],
        "controls": {one: recipe.judge_of(name, one).model_dump() for one in recipe.sweep.controls},
        "section": capped(recipe, name).of_fit(),
        "itemcf": recipe.itemcf.of_fit(),
        "seed": recipe.seed,
    }
    stage = ws.stage(f"sweep/{name}", settings, inputs, MEANING)
    if not stage.up_to_date:
        ws.claim()
        connect(recipe.resources)
        with stage.publishing() as draft:
            points = Points(recipe, ws, name)
            points.check()
            starts = {one: recipe.judge_of(name, one) for one in recipe.sweep.controls}
            search = Search(points, recipe.judge_of(name), axes, recipe.sweep.slice, starts)
            trained = isinstance(recipe.recommenders[name], TrainedSection)
            best, controls = search.run(near=trained)
            control = max(controls, key=_aim)
            table = search.table(best, control)
            (draft / "points.parquet").write_table(table)
            (draft / "curves.png").write_bytes(draw(table, name))
            (draft / "best.yaml").write_bytes(_fragment(recipe, name, best, controls).encode())
            stage.counts = {"points": len(search.points.known)} | search.summary(best, control)
    return stage.place


def _axes(recipe: Recipe, judged: bool) -> dict[str, list[Any]]:
    """The values of each axis. Blends with P(Yes) are left out if no discriminator was asked."""
    axes = {name: list(getattr(recipe.sweep, name)) for name in AXES}
    if not judged:
        axes["blend"] = [blend for blend in axes["blend"] if not blend[SCORES.index("yes_no")]]
        if len(axes["blend"]) < len(recipe.sweep.blend):
            log.info("sweep.blend: blends with yes_no are left out, because no discriminator was asked")
    return axes


def _fragment(recipe: Recipe, name: str, best: Point, controls: list[Point]) -> str:
    """The best judge, and those of the controls, as YAML to paste into the recipe: what is different from the recipe's
    judge, and from the best one.
    """
    section = {"judge": _changes(recipe.judge, best.setting.judge)}
    own = {one.setting.variant: _changes(best.setting.judge, one.setting.judge) for one in controls}
    if changed := {control: changes for control, changes in own.items() if changes}:
        section["controls"] = changed
    return yaml.safe_dump({"recommenders": {name: section}}, sort_keys=False)


def _changes(before: Judge, after: Judge) -> dict[str, Any]:
    own = before.model_dump()
    return {key: value for key, value in after.model_dump().items() if value != own[key]}


class Search:
    """The search for one recommender: its points, in the order in which they are evaluated."""

    def __init__(
        self,
        points: Points,
        start: Judge,
        axes: dict[str, list[Any]],
        slice_: Slice = "all",
        controls: Mapping[str, Judge] = MappingProxyType({}),
    ) -> None:
        """start, and controls by name: the judges from which the searches start."""
        self.points, self.start, self.axes, self.slice = points, start, axes, slice_
        self.controls = controls
        self.found: list[tuple[str, str | None, Point]] = []

    def run(self, near: bool) -> tuple[Point, list[Point]]:
        """Returns the best point (the recipe's own if none is better), and that of each control.

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
        """The best point of a variant if the axes are searched in turn, `start` if none is better."""
        judge, found = start.judge, self.points.evaluate([start])
        for axis in AXES:
            moved = self._moved(judge, axis, near, start.variant)
            asked = self._ask([(search, axis, one) for one in moved])
            judge = max(asked, key=lambda point: (_aim(point), point.setting.judge == judge)).setting.judge
            found += asked
        return max(found, key=_aim)

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
            for prefix, t in zip(("t_", "t_control_"), ts, strict=True):
                row |= {prefix + name: value for name, value in t.items()}
            rows.append(row)
        return pa.Table.from_pylist(rows, POINTS)

    def summary(self, best: Point, control: Point) -> dict[str, float]:
        """NDCG@10 in the slice that is aimed at, for the manifest."""
        own = next(point for search, _, point in self.found if search == "recipe")
        named = {"best": best, "recipe": own, "observed": self._observed, "control": control}
        return {f"NDCG@10 {name}": _aim(point) for name, point in named.items()}

    @property
    def _observed(self) -> Point:
        return self.found[0][2]

    def _ask(self, asked: list[tuple[str, str | None, Setting]]) -> list[Point]:
        points = self.points.evaluate([setting for _, _, setting in asked])
        self.found += [(*one[:2], point) for one, point in zip(asked, points, strict=True)]
        return points

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


def _aim(point: Point) -> float:
    return point.values["aim_ndcg"]
