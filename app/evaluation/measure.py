"""The rows of the report: every metric of one recommender on every variant and slice, with its interval."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from app.evaluation.bias import EXPOSURE_K, measure_bias
from app.evaluation.significance import paired_interval
from app.evaluation.slices import read_item_slices, read_user_slices, targets_by_slice
from app.metrics import METRICS, per_user
from app.recipe import Evaluation
from app.workspace import Place


@dataclass(frozen=True)
class Row:
    """One figure; `n` counts the users behind it.

    `lift` is value / observed - 1, null for `observed` and where observed is 0. [ci_low, ci_high] is the 95 %
    paired bootstrap interval of value - observed, null for `observed` and for bias metrics, no means over
    users.
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


@dataclass(frozen=True)
class Ranks:
    """The ranks of one variant, sorted by user and item.

    users and items int32 [targets], ranks int32 [seeds, targets].
    """

    users: np.ndarray
    items: np.ndarray
    ranks: np.ndarray


def measure(
    recommender: str, variants: dict[str, list[Place]], data: Place, settings: Evaluation, seed: int
) -> list[Row]:
    """Every row of one recommender.

    `variants` maps each variant, `observed` among them, to its evaluation places, one per seed. Values are
    averaged over the seeds, per user, before any variant is compared with `observed`. Slices without a user
    give no row. Meant for a Ray task: it holds the ranks of all users.
    """
    item_slices, user_slices = read_item_slices(data), read_user_slices(data)
    ranks = {variant: _read_ranks(places) for variant, places in variants.items()}
    base = ranks["observed"]
    for variant, other in ranks.items():
        if not (np.array_equal(base.users, other.users) and np.array_equal(base.items, other.items)):
            raise ValueError(f"{recommender}: {variant} was evaluated on other targets than observed")
    rows = []
    for number, (name, chosen) in enumerate(
        targets_by_slice(base.users, base.items, user_slices, item_slices).items()
    ):
        if chosen.any():
            values = {
                variant: _mean_over_seeds(found, chosen, settings.ks) for variant, found in ranks.items()
            }
            rng = np.random.default_rng([seed, number])
            rows += _slice_rows(recommender, name, values, settings, rng)
    bias = {variant: _mean_bias(places, data, item_slices) for variant, places in variants.items()}
    return rows + _bias_rows(recommender, bias, len(np.unique(base.users)))


def _read_ranks(places: list[Place]) -> Ranks:
    keys = [("user", "ascending"), ("item", "ascending")]
    tables = [(place / "ranks.parquet").read_table().sort_by(keys) for place in places]
    return Ranks(
        tables[0]["user"].to_numpy(),
        tables[0]["item"].to_numpy(),
        np.stack([table["rank"].to_numpy() for table in tables]),
    )


def _mean_over_seeds(found: Ranks, chosen: np.ndarray, ks: list[int]) -> np.ndarray:
    """Per-user values on the chosen targets: float64 [users, metrics, ks]."""
    users = found.users[chosen]
    return np.mean([per_user(users, ranks[chosen], ks)[1] for ranks in found.ranks], axis=0)


def _slice_rows(
    recommender: str, name: str, values: dict[str, np.ndarray], settings: Evaluation, rng: np.random.Generator
) -> list[Row]:
    """All metrics of one slice. Every variant meets the same resamples of the users."""
    observed = values["observed"]
    n = len(observed)
    differences = np.stack([value - observed for value in values.values()], axis=1).reshape(n, -1)
    _, low, high = paired_interval(differences, settings.bootstrap, rng)
    shape = (len(values), *observed.shape[1:])
    low, high = low.reshape(shape), high.reshape(shape)
    means = {variant: value.mean(axis=0) for variant, value in values.items()}
    rows = []
    for (v, variant), (m, metric), (at, k) in product(
        enumerate(values), enumerate(METRICS), enumerate(settings.ks)
    ):
        row = Row(recommender, variant, name, metric, k, float(means[variant][m, at]), n)
        if variant != "observed":
            lift = _lift(row.value, means["observed"][m, at])
            row = replace(row, lift=lift, ci_low=float(low[v, m, at]), ci_high=float(high[v, m, at]))
        rows.append(row)
    return rows


def _mean_bias(places: list[Place], data: Place, item_slices: np.ndarray) -> dict[tuple[str, str], float]:
    """The bias of one variant, the mean over its seeds."""
    train_count = (data / "items.parquet").read_table(["train_count"])["train_count"].to_numpy()
    exposures = [(place / "exposure.parquet").read_table(["count"])["count"].to_numpy() for place in places]
    found = [measure_bias(exposure, train_count, item_slices) for exposure in exposures]
    return {key: float(np.mean([one[key] for one in found])) for key in found[0]} if all(found) else {}


def _bias_rows(recommender: str, bias: dict[str, dict[tuple[str, str], float]], n_users: int) -> list[Row]:
    rows = []
    for variant, found in bias.items():
        for (metric, name), value in found.items():
            row = Row(recommender, variant, name, metric, EXPOSURE_K, value, n_users)
            observed = bias["observed"].get((metric, name), 0)
            rows.append(row if variant == "observed" else replace(row, lift=_lift(value, observed)))
    return rows


def _lift(value: float, observed: float) -> float | None:
    return float(value / observed - 1) if observed else None
