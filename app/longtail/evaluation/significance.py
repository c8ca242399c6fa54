"""Confidence intervals of means and differences by the bootstrap over users, and p of many tests at once.

A resample draws users with replacement and keeps all values of one user together. To train again with a new seed, as
Llama4Rec (arXiv 2401.13870) does five times, does not reduce the noise that comes from the sample of users, and the
bootstrap over users does not know the noise that comes from the seeds: `longtail.evaluation.crossed` has both.
"""

import numpy as np

LEVEL = 0.95
DRAWS_AT_ONCE = 2**24  # counts held in memory at a time: 128 MiB


def resampled_means(
    values: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
    n: int | None = None,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Column means of bootstrap samples of the rows of `values` [rows, columns]: float64 [resamples, columns].

    The number of times that each row is drawn is multinomial. Rows that are zero in every column add nothing to a mean,
    so they are drawn together as one row. Most users have no difference, so this saves most of the work, and the
    distribution stays the same. For the same reason the zero rows may be left out if `n` gives the number of all rows,
    and equal rows may be given once, with their number in `times` int [rows].
    """
    n = len(values) if n is None else n
    moves = (values != 0).any(axis=1)
    moved, often = values[moves], np.ones(moves.sum(), int) if times is None else times[moves]
    chances = np.append(often, n - often.sum()) / n
    block = max(1, DRAWS_AT_ONCE // len(chances))
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    return np.concatenate([rng.multinomial(n, chances, size=size)[:, :-1] @ moved / n for size in sizes])


def paired_interval(
    differences: np.ndarray, resamples: int, rng: np.random.Generator, n: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The two ends of the 95 % interval of the mean of paired per-user differences [rows, columns]: each [columns].

    They are percentiles of the resampled means (Efron 1979). `n` >= 1 is the number of all users; those without a row
    in `differences` have no difference in any column.
    """
    low, high = _percentiles(resampled_means(differences, resamples, rng, n))
    return low, high


def share_interval(
    parts: np.ndarray, wholes: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """sum(parts) / sum(wholes), and the two ends of its 95 % bootstrap interval over users.

    parts and wholes [users]; sum(wholes) must be above 0.
    """
    pairs, times = np.unique(np.column_stack([parts, wholes]), axis=0, return_counts=True)
    means = resampled_means(pairs.astype(np.float64), resamples, rng, len(parts), times)
    means = means[means[:, 1] > 0]
    low, high = _percentiles(means[:, 0] / means[:, 1])
    return float(parts.sum() / wholes.sum()), float(low), float(high)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """The p of tests float64 [n] that are made together, adjusted for the rate of false discoveries.

    If all that is below .05 is called sure, then of these calls at most one in twenty is wrong on average (Benjamini and
    Hochberg, Journal of the Royal Statistical Society B 1995).
    """
    from scipy.stats import false_discovery_control  # brings all distributions, half a second in every worker

    return false_discovery_control(p) if len(p) else p


def _percentiles(draws: np.ndarray) -> np.ndarray:
    return np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
