"""The rows of the report: every metric of one recommender on every variant and slice, with its interval."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from app.evaluation.bias import EXPOSURE_K, measure_bias
from app.evaluation.significance import paired_interval
from app.evaluation.slices import SLICE_NAMES, read_item_slices
from app.evaluation.values import Compared, compare_slice
from app.metrics import METRICS, SAMPLED_METRICS
from app.recipe import Evaluation
from app.workspace import Place, read_manifest


@dataclass(frozen=True)
class Row:
    """One figure; `n` counts the users behind it.

    `lift` is value / observed - 1, null for `observed` and where observed is 0. [ci_low, ci_high] is the 95 %
    paired bootstrap interval of value - observed, `t` and `p` (two-sided) are of the paired t-test over users; null
    for `observed` and for bias metrics, no means over users, and t and p where no user differs from another.
    """

    recommender: str
    variant: str
    slice: str
    metric: str
    k: int
    value: float
    n: int
    lift: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    t: float | None = None
    p: float | None = None


def measure_slice(
    recommender: str,
    name: str,
    variants: dict[str, list[Place]],
    data: Place,
    settings: Evaluation,
    seed: int,
) -> list[Row]:
    """The rows of one recommender on slice `name`, none where it has no user.

    `variants` maps each variant, `observed` among them, to its evaluation places, one per seed. Values are
    averaged over the seeds, per user, before any variant is compared with `observed`. Meant for a Ray task: it holds
    the differences of one slice.
    """
    found = compare_slice(name, variants, data, settings)
    rng = np.random.default_rng([seed, SLICE_NAMES.index(name)])
    return _slice_rows(recommender, name, found, settings, rng) if found else []


def _slice_rows(
    recommender: str, name: str, found: Compared, settings: Evaluation, rng: np.random.Generator
) -> list[Row]:
    """All metrics of one slice. Every variant meets the same resamples of the users."""
    moved = np.concatenate(found.moved)
    flat = moved.reshape(len(moved), np.prod(moved.shape[1:]))
    low, high = paired_interval(flat, settings.bootstrap, rng, found.n)
    low, high = low.reshape(moved.shape[1:]), high.reshape(moved.shape[1:])
    metrics = METRICS + (SAMPLED_METRICS if settings.sampled_negatives else ())
    rows = []
    for v, variant in enumerate(found.values):
        t, p = found.differences[variant].t_test()
        for (m, metric), (at, k) in product(enumerate(metrics), enumerate(settings.ks)):
            value = float(found.values[variant].mean[m, at])
            row = Row(recommender, variant, name, metric, k, value, found.n)
            if variant != "observed":
                row = replace(
                    row,
                    lift=_lift(value, found.values["observed"].mean[m, at]),
                    ci_low=float(low[v, m, at]),
                    ci_high=float(high[v, m, at]),
                    t=_finite(t[m, at]),
                    p=_finite(p[m, at]),
                )
            rows.append(row)
    return rows


def measure_lists(recommender: str, variants: dict[str, list[Place]], data: Place) -> list[Row]:
    """The bias rows of one recommender, each the mean over the seeds of its variant."""
    bias = {variant: _mean_bias(places, data) for variant, places in variants.items()}
    n_users = read_manifest(variants["observed"][0])["counts"]["users"]
    rows = []
    for variant, found in bias.items():
        for (metric, name), value in found.items():
            row = Row(recommender, variant, name, metric, EXPOSURE_K, value, n_users)
            observed = bias["observed"].get((metric, name), 0)
            rows.append(row if variant == "observed" else replace(row, lift=_lift(value, observed)))
    return rows


def _mean_bias(places: list[Place], data: Place) -> dict[tuple[str, str], float]:
    train_count = (data / "items.parquet").read_table(["train_count"])["train_count"].to_numpy()
    item_slices = read_item_slices(data)
    exposures = [(place / "exposure.parquet").read_table(["count"])["count"].to_numpy() for place in places]
    found = [measure_bias(exposure, train_count, item_slices) for exposure in exposures]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]} if all(found) else {}


def _lift(value: float, observed: float) -> float | None:
    return float(value / observed - 1) if observed else None


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
