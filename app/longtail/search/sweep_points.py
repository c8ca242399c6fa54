"""The points of a sweep: a recommender fitted on the training set of one judge, and its metrics on validation.

A point is evaluated once. Its figures and ranks are kept in `sweep/points`, under a fingerprint of all their inputs.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.augment.strategies.item_tokens import rare_items
from longtail.data import Prepared, read_histories
from longtail.data.catalogue import slice_codes
from longtail.errors import InputError
from longtail.evaluation.constrained_choice import Change, Changes, K, ndcg_by_slice
from longtail.evaluation.ranks import rank_targets
from longtail.evaluation.slices import Membership, members, slice_named
from longtail.fusion.chosen import choose
from longtail.fusion.controls import build_control
from longtail.fusion.fuse_stage import MEANING, fused_rows
from longtail.fusion.stand_ins import StandIn
from longtail.ranking_metrics import METRICS, Moments, per_user
from longtail.recipe import Judge, Recipe, RecommenderSection
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions, Targets
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.fits import stand_in_fit
from longtail.recommenders.training.reading import read_observed, read_validation
from longtail.rounds import FIRST_ROUND
from longtail.runtime.cluster import fetch, side_by_side
from longtail.text.text_source import TextSource
from longtail.variants import VARIANTS, TrainedVariant, stand_ins
from longtail.workspace import Workspace, fingerprint, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
MEASURES = ("ndcg", "recall", "tail_ndcg", "tail_recall", "aim_ndcg", "aim_recall")
"""Metrics at 10 on the validation items, by full ranking; `tail`: on long-tail and cold items; `aim`: on the slice
that the sweep aims at."""


@dataclass(frozen=True)
class Setting:
    """The training set of a point: a variant of next_item and its judge, or `observed` without a judge."""

    variant: TrainedVariant
    judge: Judge | None = None


OBSERVED = Setting("observed")


@dataclass(frozen=True)
class Point:
    """The result of a setting. values: the mean over users of each of MEASURES, None if no user has such a target.

    added: the number of generated interactions; seconds: the time of fit and ranking.
    """

    setting: Setting
    values: dict[str, float | None]
    added: int
    seconds: float
    ranks: Place


@dataclass(frozen=True)
class Fit:
    """What all points of a recommender share.

    rare: a reference to bool [n_items]; slices int [n_items]: the slice of each item, see `data.catalogue.slice_codes`;
    slice: the slice that the sweep aims at, one of `evaluation.slices.SLICE_NAMES`. controls: by variant, a reference to
    what makes the items of a control.
    """

    name: str
    section: RecommenderSection
    seed: int
    use_gpu: bool
    data: Place
    texts: TextSource
    answers: Place
    slice: str
    rare: Any
    slices: np.ndarray
    controls: dict[str, Any]


class Points:
    """The points of one recommender, each a Ray task, `resources.parallel` at a time."""

    def __init__(self, recipe: Recipe, ws: Workspace, name: str) -> None:
        import ray

        prepared, section = Prepared(ws), capped(recipe, name)
        build = ray.remote(num_cpus=1)(build_control)
        items = ray.put(prepared.items.select(["train_count", "slice"]))
        proposers = {
            control: [ws / place for place in stand_in_places(recipe, control)]
            for control in recipe.sweep.controls
        }
        texts = TextSource.of(recipe.text, ws, prepared.place, [section])
        self.parallel, self.place = recipe.resources.parallel, ws / "sweep/points"
        self.fit = Fit(
            name=name,
            section=section,
            seed=recipe.seed,
            use_gpu=isinstance(section, TrainedSection) and recipe.resources.accelerator == "gpu",
            data=prepared.place,
            texts=texts,
            answers=ws / "augmentation/next_item/answers",
            slice=slice_named(recipe.sweep.slice),
            rare=ray.put(rare_items(prepared.items)),
            slices=slice_codes(prepared.items["slice"]),
            controls={
                control: build.remote(recipe, control, recipe.judge, prepared.place, items, *fits)
                for control, fits in proposers.items()
            },
        )
        fitted = [name, section.of_fit(), recipe.seed, prepared.fingerprint, recipe.sweep.slice]
        fitted += (
            [texts.told, *(read_manifest(one)["fingerprint"] for one in texts.vectors)] if texts.told else []
        )
        judged = [*fitted, read_manifest(ws / "augmentation/next_item")["fingerprint"], MEANING]
        self.depends = {
            "observed": fitted,
            "discriminated": judged,
        } | {
            control: [
                *judged,
                recipe.itemcf.of_fit(),
                *(read_manifest(place)["fingerprint"] for place in fits),
            ]
            for control, fits in proposers.items()
        }
        """For each variant, the inputs of a point other than its judge."""
        self.known: dict[str, Point] = {}

    def check(self) -> None:
        """Raise InputError if nobody has a validation item in the slice that the sweep aims at."""
        import ray

        if not ray.get(ray.remote(num_cpus=1)(_aimed_at).remote(self.fit)):
            raise InputError(
                f"sweep.slice = {self.fit.slice.rpartition(':')[2]}: no validation item is in this slice."
                " Name a different slice, or leave it out."
            )

    def evaluate(self, settings: list[Setting]) -> list[Point]:
        """The points of these settings, in their order. Raises InputError if a fit raises one."""
        names = [self._named(setting) for setting in settings]
        due = {own: one for own, one in zip(names, settings, strict=True) if own not in self.known}
        side_by_side((partial(self._evaluate, *one) for one in due.items()), self.parallel)
        return [self.known[own] for own in names]

    def paired(self, points: list[Point], against: Point) -> list[dict[str, float | None]]:
        """The paired t over users of each point against another one, by MEASURES. None if no user differs."""
        import ray

        task = ray.remote(num_cpus=1)(_paired)
        return ray.get(task.remote(self.fit, [point.ranks for point in points], against.ranks))

    def changes(self, points: list[Point], against: Point, slices: Sequence[str]) -> list[list[Change]]:
        """For each point, how it changes each of these slices, in the words of the recipe, against another point."""
        import ray

        task = ray.remote(num_cpus=1)(_changes)
        return ray.get(task.remote(self.fit, [point.ranks for point in points], against.ranks, slices))

    def _named(self, setting: Setting) -> str:
        judge = setting.judge and setting.judge.model_dump()
        return fingerprint(setting.variant, judge, *self.depends[setting.variant])

    def _evaluate(self, own: str, setting: Setting) -> None:
        """Read a point, or evaluate it if its figures are not there. The figures are written last, after the ranks."""
        file, ranks = self.place / f"{own}.json", self.place / f"{own}.parquet"
        if not file.exists():
            figures = self._measured(setting, ranks)
            draft = self.place / f"{own}.part"
            draft.write_json({"recommender": self.fit.name, "setting": describe(setting)} | figures)
            draft.fs.move(draft.path, file.path)
        figures = file.read_json()
        point = Point(setting, figures["values"], figures["added"], figures["seconds"], ranks)
        self.known[own] = point
        ndcg, tail = (
            "none" if value is None else f"{value:.4f}"
            for value in (point.values["ndcg"], point.values["tail_ndcg"])
        )
        log.info(
            "%s: %s: NDCG@10 %s, long tail %s, %.1f s",
            self.fit.name,
            describe(setting),
            ndcg,
            tail,
            point.seconds,
        )

    def _measured(self, setting: Setting, ranks: Place) -> dict[str, Any]:
        import ray
        from ray.exceptions import RayTaskError

        task = ray.remote(num_cpus=1, num_gpus=int(self.fit.use_gpu))(measure)
        try:
            return ray.get(task.remote(self.fit, setting, ranks))
        except RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise InputError(f"recommenders.{self.fit.name}: {error.cause}") from None
            raise


def stand_in_places(recipe: Recipe, control: str) -> list[str]:
    """Where the recommender is published that stands in for the generator, relative to the workspace; mostly none does."""
    return [stand_in_fit(recipe, FIRST_ROUND, name).place for name in stand_ins([control])]


def capped(recipe: Recipe, name: str) -> RecommenderSection:
    """The settings with which a sweep fits a recommender: no variants, no judge, at most `sweep.epochs`."""
    section = recipe.recommenders[name].alone()
    if isinstance(section, TrainedSection) and recipe.sweep.epochs:
        return section.model_copy(update={"epochs": min(section.epochs, recipe.sweep.epochs)})
    return section


def describe(setting: Setting) -> str:
    """A short text that describes a setting."""
    judge = setting.judge
    if judge is None:
        return setting.variant
    words = [f"control {setting.variant}"] if VARIANTS[setting.variant].is_control else []
    words.append(f"blend {judge.likelihood:g}/{judge.agreement:g}/{judge.yes_no:g}")
    words += [f"keep {judge.keep}", f"weight {judge.weight:g}"]
    seldom = {"tail_share": judge.tail_share, "threshold": judge.threshold}
    return ", ".join(words + [f"{name} {value:g}" for name, value in seldom.items() if value])


def measure(fit: Fit, setting: Setting, to: Place) -> dict[str, Any]:
    """Fit on the training set of `setting`, which is made in memory, and rank the validation items. A Ray task.

    Writes the rank of each validation item to `to`. Returns the figures of a `Point`.
    """
    started = time.monotonic()
    train, targets = training_set(fit, setting), read_validation(fit.data)
    model = build(fit.name, fit.section, fit.seed, Compute(use_gpu=fit.use_gpu)).fit(train, None, targets)
    users, rows = np.unique(targets.users, return_inverse=True)
    lists, _ = model.recommend(users, min(K, train.n_items))
    ranks = rank_targets(lists, rows, targets.items)
    to.write_table(pa.table({"rank": ranks}))
    values = per_measure(targets, ranks, fetch(fit.rare), aimed(fit, targets))
    return {
        "values": {name: float(own.mean()) if len(own) else None for name, own in values.items()},
        "added": len(train.items) - int(train.observed.sum()),
        "seconds": round(time.monotonic() - started, 3),
    }


def training_set(fit: Fit, setting: Setting) -> Interactions:
    """The training set that `longtail fuse` would write for this setting.

    A control adds the same number of items of each slice to each user as the judge of the setting accepts.
    """
    observed = read_observed(fit.data, fit.texts)
    if setting.judge is None:
        return observed
    chosen = choose({"next_item": fit.answers}, "discriminated", setting.judge, fit.slices, observed.n_users)
    control = fetch(fit.controls[setting.variant]) if setting.variant in fit.controls else None
    if isinstance(control, StandIn):
        control = replace(control, judge=setting.judge)
    histories = read_histories(fit.data)
    table = fused_rows(histories, setting.variant, setting.judge.weight, fit.seed, chosen, control)
    return Interactions.from_table(table, observed.n_items, observed.texts)


def aimed(fit: Fit, targets: Targets) -> np.ndarray:
    """Which targets are in the slice that the sweep aims at: bool [targets]."""
    return members(fit.slice, fit.data)(targets.users, targets.items)


def _aimed_at(fit: Fit) -> int:
    """How many validation items are in the slice; a Ray task."""
    return int(aimed(fit, read_validation(fit.data)).sum())


def per_measure(
    targets: Targets, ranks: np.ndarray, rare: np.ndarray, inside: np.ndarray
) -> dict[str, np.ndarray]:
    """For each of MEASURES, the values float64 [n] of the users who have such a target.

    ranks int [targets], 0 if beyond K; rare bool [n_items]; inside bool [targets]: the targets in the slice that the
    sweep aims at.
    """
    found = {}
    for prefix, which in (("", np.ones(len(ranks), bool)), ("tail_", rare[targets.items]), ("aim_", inside)):
        _, values = per_user(targets.users[which], ranks[which], [K])
        for metric in ("ndcg", "recall"):
            found[prefix + metric] = values[:, METRICS.index(metric), 0]
    return found


def _changes(fit: Fit, ranks: list[Place], against: Place, slices: Sequence[str]) -> list[list[Change]]:
    targets = read_validation(fit.data)
    inside = Membership.read(slices, fit.data).of(targets.users, targets.items)
    columns = [place.read_table()["rank"].to_numpy() for place in (against, *ranks)]
    values = ndcg_by_slice(targets.users, inside, np.column_stack(columns))
    found = Changes.of(
        {name: (own[:, 1:] - own[:, :1])[:, None] for name, own in zip(slices, values, strict=True)}
    )
    return [found.of_candidate(number) for number in range(len(ranks))]


def _paired(fit: Fit, ranks: list[Place], against: Place) -> list[dict[str, float | None]]:
    targets, rare = read_validation(fit.data), fetch(fit.rare)
    inside = aimed(fit, targets)

    def values(place: Place) -> dict[str, np.ndarray]:
        return per_measure(targets, place.read_table()["rank"].to_numpy(), rare, inside)

    base, found = values(against), []
    for place in ranks:
        own = values(place)
        tests = {name: float(Moments.of(own[name] - base[name]).t_test()[0]) for name in MEASURES}
        found.append({name: None if math.isnan(t) else t for name, t in tests.items()})
    return found
