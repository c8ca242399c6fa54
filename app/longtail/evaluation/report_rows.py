"""The rows of `metrics.json`: every metric of one recommender for every variant and slice, with its interval."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from longtail.evaluation.categories import read_categories
from longtail.evaluation.crossed import Crossed
from longtail.evaluation.list_bias import EXPOSURE_K, measure_bias
from longtail.evaluation.per_user_metrics import Compared, compare_slice
from longtail.evaluation.significance import paired_interval
from longtail.evaluation.slices import SLICE_NAMES, read_item_slices
from longtail.ranking_metrics import METRICS, SAMPLED_METRICS, lift
from longtail.recipe import Evaluation
from longtail.variants import VARIANTS
from longtail.workspace import read_manifest
from longtail.workspace.place import Place

OVER_OBSERVED = ("ci_low", "ci_high", "t", "p", "pairs")
"""The fields of the `Difference` from observed that stand in the row itself."""


@dataclass(frozen=True)
class Difference:
    """The mean over users of a variant's value minus the value of the variant `base` for the same user.

    pairs: the number of pairs of a generator and a recommender seed that are in it. [ci_low, ci_high]: the 95 % interval;
    `t` and `p` (two-sided): the test against 0. With several pairs all four are those of `longtail.evaluation.crossed`, so
    the variance of users and of pairs is in them; None if there is one user. With one pair they have the users' variance
    only: the bootstrap interval and the paired t-test over users. `t` and `p` are None if all users have the same
    difference.
    """

    base: str
    value: float
    ci_low: float | None
    ci_high: float | None
    t: float | None
    p: float | None
    pairs: int


@dataclass(frozen=True)
class Row:
    """One figure, of `n` users who have `targets` held-out items.

    `lift` is the relative one over observed, None for `observed` and if that value is too low for one. ci_low, ci_high, t,
    p and pairs belong to the `Difference` from observed. They are None for `observed`, and for bias metrics, which are not
    means over users.

    over_control: the `Difference` of a variant from its own control (see `longtail.variants`), None if there is none.
    over_best: the `Difference` of a variant of an LLM from its best rival: of observed and all of its controls the one with
    the highest value here. It is chosen on the test, which favours the rivals: the difference from the highest of several
    values is never above the difference from one that was named before. p_adjusted: the p of over_best, adjusted for
    everything that the page compares (see `longtail.evaluation.family`), None if the page does not compare it. A variant
    that uses the answer key claims nothing, so it has neither.
    """

    recommender: str
    variant: str
    slice: str
    metric: str
    k: int
    value: float
    n: int
    targets: int
    lift: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    t: float | None = None
    p: float | None = None
    pairs: int | None = None
    over_control: Difference | None = None
    over_best: Difference | None = None
    p_adjusted: float | None = None


def measure(
    recommender: str, variants: dict[str, list[Place]], data: Place, settings: Evaluation, seed: int
) -> list[Row]:
    """All rows of one recommender: those of every slice, one slice after another, and the bias of its lists.

    Arguments as for `measure_slice`. Meant for a Ray task. A task for each slice may start a worker process,
    which takes seconds; a slice of 60 users takes 7 ms.
    """
    slices = (measure_slice(recommender, name, variants, data, settings, seed) for name in SLICE_NAMES)
    return [*(row for rows in slices for row in rows), *measure_lists(recommender, variants, data)]


def measure_slice(
    recommender: str,
    name: str,
    variants: dict[str, list[Place]],
    data: Place,
    settings: Evaluation,
    seed: int,
) -> list[Row]:
    """The rows of one recommender on slice `name`. Empty if the slice has no user.

    `variants` maps each variant, `observed` among them, to its evaluation places: the i-th is that of pair i, and a single
    one serves all pairs. It holds the differences of this slice.
    """
    found = compare_slice(name, variants, data, settings)
    rng = np.random.default_rng([seed, SLICE_NAMES.index(name)])
    return _slice_rows(recommender, name, found, settings, rng) if found else []


def _slice_rows(
    recommender: str, name: str, found: Compared, settings: Evaluation, rng: np.random.Generator
) -> list[Row]:
    """All metrics of one slice."""
    compared = differences(found, settings, rng)
    metrics = METRICS + (SAMPLED_METRICS if settings.sampled_negatives else ())
    rows = []
    for variant, values in found.values.items():
        own = {base: cells for (of, base), cells in compared.items() if of == variant}
        claimed = VARIANTS[variant].by_llm and not VARIANTS[variant].hits_removed
        cells = zip(np.ndindex(values.mean.shape), product(metrics, settings.ks), strict=True)
        for cell, (metric, k) in cells:
            value = float(values.mean[cell])
            row = Row(recommender, variant, name, metric, k, value, found.n, found.targets)
            if variant != "observed":
                best = max(own, key=lambda base: found.values[base].mean[cell])
                row = replace(
                    row,
                    lift=lift(value, found.values["observed"].mean[cell]),
                    **{key: getattr(own["observed"][cell], key) for key in OVER_OBSERVED},
                    over_control=own.get(VARIANTS[variant].control, {}).get(cell),
                    over_best=own[best][cell] if claimed else None,
                )
            rows.append(row)
    return rows


def differences(
    found: Compared, settings: Evaluation, rng: np.random.Generator
) -> dict[tuple[str, str], dict[tuple[int, ...], Difference]]:
    """By (variant, base), the `Difference` in every cell of [metrics, ks]. All use the same resamples of users."""
    moved = np.concatenate(found.moved)
    flat = moved.reshape(len(moved), np.prod(moved.shape[1:]))
    low, high = paired_interval(flat, settings.bootstrap, rng, found.n)
    low, high = low.reshape(moved.shape[1:]), high.reshape(moved.shape[1:])
    resampled = dict(zip(found.of_one_pair, zip(low, high, strict=True), strict=True))
    return {
        contrast: _cells(contrast[1], own, resampled.get(contrast) or own.interval())
        for contrast, own in found.differences.items()
    }


def _cells(
    base: str, own: Crossed, interval: tuple[np.ndarray, np.ndarray]
) -> dict[tuple[int, ...], Difference]:
    t, p = own.t_test()
    return {
        cell: Difference(
            base,
            float(own.mean[cell]),
            *(_finite(one[cell]) for one in (*interval, t, p)),
            pairs=own.pairs,
        )
        for cell in np.ndindex(own.mean.shape)
    }


def measure_lists(recommender: str, variants: dict[str, list[Place]], data: Place) -> list[Row]:
    """The bias rows of one recommender. Each value is the mean over the pairs of a variant."""
    bias = {variant: _mean_bias(places, data) for variant, places in variants.items()}
    counts = read_manifest(variants["observed"][0])["counts"]
    rows = []
    for variant, found in bias.items():
        for (metric, name), value in found.items():
            row = Row(
                recommender, variant, name, metric, EXPOSURE_K, value, counts["users"], counts["targets"]
            )
            observed = bias["observed"].get((metric, name), 0)
            rows.append(row if variant == "observed" else replace(row, lift=lift(value, observed)))
    return rows


def _mean_bias(places: list[Place], data: Place) -> dict[tuple[str, str], float]:
    train_count = (data / "items.parquet").read_table(["train_count"])["train_count"].to_numpy()
    item_slices, categories = read_item_slices(data), read_categories(data)
    exposures = [(place / "exposure.parquet").read_table(["count"])["count"].to_numpy() for place in places]
    found = [measure_bias(exposure, train_count, item_slices, categories) for exposure in exposures]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]} if all(found) else {}


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
