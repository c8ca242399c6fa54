"""The table of an ablation: every figure of every point, with its differences from rivals and from the first point."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from longtail.data import read_histories
from longtail.evaluation.crossed import Crossed
from longtail.evaluation.evaluated_runs import evaluations
from longtail.evaluation.family import corrected
from longtail.evaluation.report_rows import Row, measure_slice
from longtail.evaluation.significance import paired_interval
from longtail.evaluation.slices import SLICE_NAMES, members
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Evaluation, GridPoint, Recipe
from longtail.rounds import last_round
from longtail.search.ablation_cost import cost_of
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

K = 10
SHOWN = ("recall", "ndcg")
CORRECTED = "ndcg"
SLICES = ("all", "items:tail", "users:sparse")
BASES = ("observed", "control", "best", "first")
"""What a value is compared with: of the same point the observed log, the own control and the best rival (`Row.over_best`),
and of the first point the same fit."""
COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("recommender", "variant", "slice", "metric")),
        ("k", pa.int32()),
        ("value", pa.float64()),
        ("n", pa.int64()),  # users
        *((f"over_{base}{part}", pa.float64()) for base in BASES for part in ("", "_low", "_high")),
        *((name, pa.string()) for name in ("control", "best")),
        ("p_adjusted", pa.float64()),  # of over_best in NDCG, for all points and slices together
        *((name, pa.int64()) for name in ("requests", "tokens", "requests_alone", "tokens_alone")),
        *((name, pa.float64()) for name in ("seconds_alone", "seconds_shared")),
    ]
)
"""After the columns `point` and one for each varied key. `over_…`: the paired difference per user, and its 95 % interval;
null if there is nothing to compare with. The last columns are those of the point, see `ablation_cost`."""
Moved = tuple[float, float | None, float | None]
"""A mean difference and the ends of its interval."""
Places = dict[str, list[Place]]
"""The evaluations of one recommender by variant, one for each seed."""


@dataclass(frozen=True)
class Measured:
    """A point whose evaluation is published. recipe: that of the point, with the ledger of the run."""

    point: GridPoint
    recipe: Recipe
    ws: Workspace

    @property
    def data(self) -> Place:
        """The data of the round that ranks the test items."""
        return self.ws / last_round(self.recipe).data

    def evaluations(self, recommender: str) -> Places:
        return evaluations(recommender, self.recipe, self.ws)


def table_of(points: list[Measured]) -> pa.Table:
    """All rows of the ablation, in the order of the points. Ray must be connected."""
    import ray

    task, first, waiting = ray.remote(num_cpus=1)(figures), points[0], []
    for one in points:
        settings, seed = one.recipe.evaluation.model_copy(update={"ks": [K]}), one.recipe.seed
        for name in one.recipe.recommenders:
            base = None if one is first else (first.evaluations(name), first.data)
            waiting.append((one, task.remote(name, one.evaluations(name), one.data, base, settings, seed)))
    spent = cost_of({one.point.name: (one.recipe, one.ws) for one in points})
    numbers, rows = _numbers([one.point for one in points]), []
    measured = [(one, found, moved) for one, task in waiting for found, moved in ray.get(task)]
    family = iter(corrected([row for _, found, _ in measured for row in found], CORRECTED, K, SLICES))
    for one, found, moved in measured:
        own = [next(family) for _ in found]
        head = {"point": one.point.name}
        for key, text in one.point.changes.items():
            head[key] = float(yaml.safe_load(text)) if key in numbers else text
        rows += [head | row | spent[one.point.name] for row in _rows(own, moved)]
    varied = [(key, pa.float64() if key in numbers else pa.string()) for key in first.point.changes]
    return pa.Table.from_pylist(rows, pa.schema([("point", pa.string()), *varied, *COLUMNS]))


def figures(
    recommender: str,
    own: Places,
    data: Place,
    first: tuple[Places, Place] | None,
    settings: Evaluation,
    seed: int,
) -> list[tuple[list[Row], dict[tuple[str, str], Moved]]]:
    """For each of SLICES: the rows of one recommender of a point, and what `over_first` finds. For a Ray task.

    first: the evaluations and the data of the first point, None if the point is the first.
    """
    return [
        (
            measure_slice(recommender, part, own, data, settings, seed),
            over_first(own, first[0], data, first[1], part, settings.bootstrap, seed) if first else {},
        )
        for part in SLICES
    ]


def _rows(measured: list[Row], moved: dict[tuple[str, str], Moved]) -> list[dict[str, Any]]:
    observed = {row.metric: row.value for row in measured if row.variant == "observed"}
    found = []
    for row in measured:
        if row.metric not in SHOWN:
            continue
        cells = {
            name: getattr(row, name)
            for name in ("recommender", "variant", "slice", "metric", "k", "value", "n", "p_adjusted")
        }
        if row.variant != "observed":
            cells |= _difference("observed", row.value - observed[row.metric], row.ci_low, row.ci_high)
        for base, over in (("control", row.over_control), ("best", row.over_best)):
            if over:
                cells |= _difference(base, over.value, over.ci_low, over.ci_high) | {base: over.base}
        if against := moved.get((row.variant, row.metric)):
            cells |= _difference("first", *against)
        found.append(cells)
    return found


def _difference(base: str, value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {f"over_{base}": value, f"over_{base}_low": low, f"over_{base}_high": high}


def over_first(
    own: Places, first: Places, data: Place, first_data: Place, part: str, resamples: int, seed: int
) -> dict[tuple[str, str], Moved]:
    """By (variant, metric), how much higher the values of a point are than those of the first one, with a 95 % interval.

    Paired per user and, if there are several, per pair of a generator and a seed, on the targets that both points rank and
    that are in slice `part` in the data of the first one. Empty if users or items have other codes in the two, so that
    nothing can be paired.
    """
    if not _same_codes(data, first_data):
        return {}
    inside, found = members(part, first_data), {}
    for variant in own.keys() & first.keys():
        mine, base = ([_ranks(place) for place in places[variant]] for places in (own, first))
        both = np.intersect1d(mine[0][0], base[0][0], assume_unique=True)
        both = both[inside(both >> 32, both & 0xFFFFFFFF)]
        if not len(both):
            continue
        if (shared := min(len(mine), len(base))) > 1:  # a single one stands beside every pair
            mine, base = mine[:shared], base[:shared]
        values = [np.stack([_values(ranked, both) for ranked in pairs], axis=1) for pairs in (mine, base)]
        moved = values[0] - values[1]
        low, high = _interval(moved, resamples, np.random.default_rng([seed, SLICE_NAMES.index(part)]))
        for column, metric in enumerate(SHOWN):
            ends = (float(end[column]) if np.isfinite(end[column]) else None for end in (low, high))
            found[variant, metric] = float(moved[..., column].mean()), *ends
    return found


def _interval(moved: np.ndarray, resamples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of differences [users, pairs, metrics], as `measure_slice` makes it: several pairs add their variance."""
    if moved.shape[1] == 1:
        return paired_interval(moved[:, 0], resamples, rng, len(moved))
    return Crossed.of(moved).interval()


def _ranks(place: Place) -> tuple[np.ndarray, np.ndarray]:
    """The targets as user << 32 | item, ascending, and their ranks; both int64 [targets]."""
    table = (place / "ranks").read_table(["user", "item", "rank"])
    users, items, ranks = (table[name].to_numpy().astype(np.int64) for name in ("user", "item", "rank"))
    targets = users << 32 | items
    order = np.argsort(targets)
    return targets[order], ranks[order]


def _values(ranked: tuple[np.ndarray, np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """The metrics SHOWN of each user with a chosen target: float64 [users, metrics]."""
    targets, ranks = ranked
    _, values = per_user(chosen >> 32, ranks[np.searchsorted(targets, chosen)], [K])
    return values[:, [METRICS.index(name) for name in SHOWN], 0]


def _same_codes(one: Place, other: Place) -> bool:
    """Whether every code stands for the same user and the same item in two published `data`."""
    if read_manifest(one)["fingerprint"] == read_manifest(other)["fingerprint"]:
        return True
    ids = [(place / "items.parquet").read_table(["item_id"]) for place in (one, other)]
    users = [read_histories(place).select(["user", "user_id"]) for place in (one, other)]
    return ids[0].equals(ids[1]) and users[0].equals(users[1])


def _numbers(points: list[GridPoint]) -> set[str]:
    """The varied keys of which every value is a number."""
    found = set()
    for key in points[0].changes:
        values = [yaml.safe_load(point.changes[key]) for point in points]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            found.add(key)
    return found
