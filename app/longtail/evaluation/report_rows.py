"""The rows of `metrics.json`: every metric of one recommender for every variant and slice, with its interval."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from longtail.evaluation.categories import read_categories
from longtail.evaluation.list_bias import EXPOSURE_K, measure_bias
from longtail.evaluation.per_user_metrics import Compared, compare_slice
from longtail.evaluation.significance import paired_interval
from longtail.evaluation.slices import SLICE_NAMES, read_item_slices
from longtail.ranking_metrics import METRICS, SAMPLED_METRICS
from longtail.recipe import Evaluation
from longtail.variants import VARIANTS
from longtail.workspace import read_manifest
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Difference:
    """The mean over users of a variant's value minus the value of the variant `base` for the same user.

    [ci_low, ci_high]: its 95 % bootstrap interval. `t` and `p` (two-sided): the paired t-test over users, None if all
    users have the same difference.
    """

    base: str
    value: float
    ci_low: float
    ci_high: float
    t: float | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """One figure, of `n` users.

    `lift` is value / observed - 1, None for `observed` and if the observed value is 0. ci_low, ci_high, t and p belong
    to the `Difference` from observed. They are None for `observed`, and for bias metrics, which are not means over
    users. `over_control`: the `Difference` of an LLM variant from its control (see `longtail.variants`), None if there
    is none.
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
    over_control: Difference | None = None


def measure_slice(
    recommender: str,
    name: str,
    variants: dict[str, list[Place]],
    data: Place,
    settings: Evaluation,
    seed: int,
) -> list[Row]:
    """The rows of one recommender on slice `name`. Empty if the slice has no user.

    `variants` maps each variant, `observed` among them, to its evaluation places, one per seed. The values of a user
    are averaged over the seeds before a variant is compared with `observed`. Meant for a Ray task: it holds the
    differences of one slice.
    """
    found = compare_slice(name, variants, data, settings)
    rng = np.random.default_rng([seed, SLICE_NAMES.index(name)])
    return _slice_rows(recommender, name, found, settings, rng) if found else []


def _slice_rows(
    recommender: str, name: str, found: Compared, settings: Evaluation, rng: np.random.Generator
) -> list[Row]:
    """All metrics of one slice."""
    differences = _differences(found, settings, rng)
    metrics = METRICS + (SAMPLED_METRICS if settings.sampled_negatives else ())
    rows = []
    for variant, values in found.values.items():
        cells = zip(np.ndindex(values.mean.shape), product(metrics, settings.ks), strict=True)
        for cell, (metric, k) in cells:
            value = float(values.mean[cell])
            row = Row(recommender, variant, name, metric, k, value, found.n)
            if variant != "observed":
                own = differences[variant, "observed"][cell]
                control = differences.get((variant, VARIANTS[variant].control), {})
                row = replace(
                    row,
                    lift=_lift(value, found.values["observed"].mean[cell]),
                    **{key: getattr(own, key) for key in ("ci_low", "ci_high", "t", "p")},
                    over_control=control.get(cell),
                )
            rows.append(row)
    return rows


def _differences(
    found: Compared, settings: Evaluation, rng: np.random.Generator
) -> dict[tuple[str, str], dict[tuple[int, ...], Difference]]:
    """By (variant, base), the `Difference` in every cell of [metrics, ks]. All use the same resamples of users."""
    moved = np.concatenate(found.moved)
    flat = moved.reshape(len(moved), np.prod(moved.shape[1:]))
    low, high = paired_interval(flat, settings.bootstrap, rng, found.n)
    low, high = low.reshape(moved.shape[1:]), high.reshape(moved.shape[1:])
    differences = {}
    for column, (pair, moments) in enumerate(found.differences.items()):
        t, p = moments.t_test()
        differences[pair] = {
            cell: Difference(
                pair[1],
                float(moments.mean[cell]),
                float(low[column][cell]),
                float(high[column][cell]),
                _finite(t[cell]),
                _finite(p[cell]),
            )
            for cell in np.ndindex(t.shape)
        }
    return differences


def measure_lists(recommender: str, variants: dict[str, list[Place]], data: Place) -> list[Row]:
    """The bias rows of one recommender. Each value is the mean over the seeds of a variant."""
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
    item_slices, categories = read_item_slices(data), read_categories(data)
    exposures = [(place / "exposure.parquet").read_table(["count"])["count"].to_numpy() for place in places]
    found = [measure_bias(exposure, train_count, item_slices, categories) for exposure in exposures]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]} if all(found) else {}


def _lift(value: float, observed: float) -> float | None:
    return float(value / observed - 1) if observed else None


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
