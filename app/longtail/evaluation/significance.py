"""How sure a difference is: the bootstrap over users.

Users are the independent unit (papers 2.6: repeats of the training do not lessen the noise of the sample of
users), so a resample draws users with replacement and keeps everything that belongs to one together.
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

    How often each row is drawn is multinomial. Rows that are zero in every column add nothing to any mean, so
    they are drawn together as one: with most users unmoved this saves most of the work and changes no
    distribution. They need not be given at all where `n` says how many rows there are with them. Rows that are alike
    may be given once, with `times` int [rows] how often they stand, for the same reason.
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
    """The ends of the interval of the mean of paired per-user differences [rows, columns]: each [columns].

    They are percentiles of the resampled means (Efron 1979). With `n` >= 1 users of which those left out did not
    differ in any column.
    """
    low, high = _percentiles(resampled_means(differences, resamples, rng, n))
    return low, high


def share_interval(
    parts: np.ndarray, wholes: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """sum(parts) / sum(wholes) over users [n] and its interval's ends; needs sum(wholes) > 0."""
    pairs, times = np.unique(np.column_stack([parts, wholes]), axis=0, return_counts=True)
    means = resampled_means(pairs.astype(np.float64), resamples, rng, len(parts), times)
    means = means[means[:, 1] > 0]
    low, high = _percentiles(means[:, 0] / means[:, 1])
    return float(parts.sum() / wholes.sum()), float(low), float(high)


def _percentiles(draws: np.ndarray) -> np.ndarray:
    return np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
