"""Metrics of an LLM's quality, from the measurements of each user, with 95 % bootstrap intervals over users."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.ranking_metrics import METRICS, per_user

K = 10
RESAMPLES = 1000
BINS = 10
RANKED_AT_LEAST = 30
"""With fewer users, rank metrics are None: they would be too uncertain."""

Figure = dict[str, float | None]
"""value, ci_low, ci_high; all None if there are no users."""
NOTHING: Figure = {"value": None, "ci_low": None, "ci_high": None}


def figures(found: pa.Table, n_items: int, seed: int, ranking: str = "next_item") -> dict[str, Any]:
    """All metrics of `found`, by task. found: one row per user, with the columns that `measuring` writes.

    ranking: the task whose prompt was used to rank the catalogue. Every ratio is a ratio of sums over users, so that a
    resample of users takes all tokens and answers of each user together.
    """
    columns = {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}
    answers: dict[str, Any] = {"users": found.num_rows}
    for task, (column, describe) in _TASKS.items():
        if column in columns:
            answers[task or ranking] = describe(columns, np.random.default_rng(seed))
    if ranking in answers:
        answers[ranking]["items"] = n_items
    return answers


def auc(positive: np.ndarray, negative: np.ndarray) -> Callable[[np.ndarray], float]:
    """ROC-AUC of scores [users] and [users] as a function of user weights [users]. A tie counts as a half.

    It is the probability that a positive of any user scores above a negative of any user (Mann and Whitney 1947).
    """
    order = np.argsort(negative)
    ends = [np.searchsorted(negative[order], positive, side) for side in ("left", "right")]

    def weighted(weights: np.ndarray) -> float:
        below = np.append(0, np.cumsum(weights[order]))
        return _ratio(weights @ (below[ends[0]] + below[ends[1]]) / 2, weights.sum() ** 2)

    return weighted


def reliability(confidence: np.ndarray, taken: np.ndarray) -> tuple[list[dict[str, float | None]], float]:
    """Reliability bins and expected calibration error (Guo et al. 2017).

    Bins of P(Yes) have equal width; each has its count, mean P(Yes) and share of taken items. The error is the mean over
    answers of |mean P(Yes) - share| of their bin.
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts, means, shares = (
        np.bincount(place, weights, BINS) for weights in (None, confidence, taken.astype(float))
    )
    filled = np.maximum(counts, 1)
    means, shares = means / filled, shares / filled
    bins = [
        {
            "low": b / BINS,
            "high": (b + 1) / BINS,
            "count": int(counts[b]),
            "mean": float(means[b]) if counts[b] else None,
            "share": float(shares[b]) if counts[b] else None,
        }
        for b in range(BINS)
    ]
    return bins, float(counts @ np.abs(means - shares) / max(1, counts.sum()))


def _ranks(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    logprob, tokens = columns["logprob"], columns["tokens"]
    (perplexity,) = _intervals(
        [lambda weights: np.exp(_ratio(-(weights @ logprob), weights @ tokens))], len(tokens), rng
    )
    ranked = columns["rank"] > 0
    ranks, tail = columns["rank"][ranked], columns["tail"][ranked]
    _, values = per_user(np.arange(len(ranks)), ranks, [K])
    hit, ndcg = (values[:, METRICS.index(name), 0] for name in ("hit", "ndcg"))
    means = [
        _mean(value[chosen], chosen) for chosen in (np.ones(len(tail), bool), tail) for value in (hit, ndcg)
    ]
    enough = len(ranks) >= RANKED_AT_LEAST
    found = _intervals(means, len(ranks), rng) if enough else [NOTHING] * len(means)
    return {
        "k": K,
        "all": {"n": len(ranks), "hit": found[0], "ndcg": found[1]},
        "tail": {"n": int(tail.sum()), "hit": found[2], "ndcg": found[3]},
        "perplexity": perplexity,
        "tokens": int(tokens.sum()),
    }


def _yes_no(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    taken, random, popular = (columns[name] for name in ("yes_taken", "yes_random", "yes_popular"))
    both = ~np.isnan(random)
    positive, negative = taken[both], random[both]
    right = ((positive > 0.5).astype(float) + (negative < 0.5)) / 2
    surprise = -(np.log(np.maximum(positive, 1e-12)) + np.log(np.maximum(1 - negative, 1e-12))) / 2
    everybody = np.ones(len(positive), bool)
    against_random, accuracy, loss = _intervals(
        [auc(positive, negative), _mean(right, everybody), _mean(surprise, everybody)], len(positive), rng
    )
    met = ~np.isnan(popular)
    (against_popular,) = _intervals([auc(taken[met], popular[met])], int(met.sum()), rng)
    answers = np.append(positive, negative)
    bins, error = reliability(answers, np.arange(len(answers)) < len(positive))
    return {
        "n": len(positive),
        "auc_random": against_random,
        "auc_popular": against_popular,
        "accuracy": accuracy,
        "log_loss": loss,
        "calibration_error": error,
        "bins": bins,
    }


def _preference(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    asked = ~np.isnan(columns["taken_as_a"])
    as_a, as_b = (columns[name][asked] > 0 for name in ("taken_as_a", "taken_as_b"))
    agreed, everybody = as_a == as_b, np.ones(len(as_a), bool)
    accuracy, disagreement = _intervals(
        [_mean(as_a[agreed].astype(float), agreed), _mean(1.0 - agreed, everybody)], len(as_a), rng
    )
    return {"n": len(as_a), "accuracy": accuracy, "disagreement": disagreement}


def _injection(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """How much a title with an order changes P(Yes) of the same user and item. For items not taken: the mean change and
    the mean absolute change. For items taken: the mean change.
    """
    asked = ~np.isnan(columns["yes_random_injected"])
    change, change_taken = (
        (columns[f"{name}_injected"] - columns[name])[asked] for name in ("yes_random", "yes_taken")
    )
    everybody = np.ones(len(change), bool)
    figured = [_mean(values, everybody) for values in (change, np.abs(change), change_taken)]
    moved, size, moved_taken = _intervals(figured, len(change), rng)
    return {"n": len(change), "change": moved, "absolute": size, "change_taken": moved_taken}


_TASKS = {
    None: ("rank", _ranks),
    "yes_no": ("yes_taken", _yes_no),
    "injection": ("yes_random_injected", _injection),
    "preference": ("taken_as_a", _preference),
}


def _mean(values: np.ndarray, chosen: np.ndarray) -> Callable[[np.ndarray], float]:
    """The weighted mean of `values`, one per `chosen` user, as a function of the weights of all users."""
    return lambda weights: _ratio(weights[chosen] @ values, weights[chosen].sum())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _intervals(
    statistics: list[Callable[[np.ndarray], float]], n: int, rng: np.random.Generator
) -> list[Figure]:
    """Each statistic of n users with its percentile bootstrap interval, from resamples of the users (Efron 1979)."""
    if not n:
        return [NOTHING for _ in statistics]
    draws = np.empty((RESAMPLES, len(statistics)))
    for row in draws:
        weights = np.bincount(rng.integers(0, n, n), minlength=n).astype(float)
        row[:] = [statistic(weights) for statistic in statistics]
    found = []
    for statistic, drawn in zip(statistics, draws.T, strict=True):
        value, drawn = statistic(np.ones(n)), drawn[~np.isnan(drawn)]
        if np.isfinite(value) and len(drawn):
            low, high = np.quantile(drawn, [0.025, 0.975])
            found.append({"value": value, "ci_low": float(low), "ci_high": float(high)})
        else:
            found.append(NOTHING)
    return found
