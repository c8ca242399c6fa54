"""Ranking metrics per user, from the ranks of that user's targets, and sums of them that can be merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

METRICS = ("recall", "hit", "ndcg", "mrr")
SAMPLED_METRICS = ("sampled_hit", "sampled_ndcg")
"""Metrics of sampled ranking. They can only be compared with metrics that were computed in the same way."""
NO_VARIATION = 1e-9
"""If the standard error is below this share of the mean, all rows are equal up to rounding."""
LOWEST_BASE = 0.005
"""The lowest value over which a lift in per cent is given: a step from .001 to .004 is not called "+300 %"."""


def lift(value: float, base: float) -> float | None:
    """value / base - 1. None if the base is below LOWEST_BASE: the difference is then what can be told."""
    return float(value / base - 1) if base >= LOWEST_BASE else None


def per_user(users: np.ndarray, ranks: np.ndarray, ks: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Every metric of `METRICS` at every k, for each user that has a target.

    users int [rows], ranks int [rows]: one row per target; the rank is 1-based, 0 means not in the list.
    Returns the users [n], ascending, and values float64 [n, len(METRICS), len(ks)], all in [0, 1].

    With T targets, of which those at ranks r <= k are found (Järvelin and Kekäläinen 2002 for the discount):

    - recall@k = found / T
    - hit@k    = 1 if found > 0
    - ndcg@k   = sum over found of 1 / log2(r + 1), over the same sum for ranks 1 .. min(T, k)
    - mrr@k    = 1 / (smallest r) if found > 0

    A user's values depend on that user's rows only. So disjoint sets of users can be computed one by one.
    """
    order = np.argsort(users, kind="stable")
    codes, starts, targets = np.unique(users[order], return_index=True, return_counts=True)
    k = np.asarray(ks)
    values = np.zeros((len(codes), len(METRICS), len(k)))
    if not len(codes):
        return codes, values
    rank = np.where(ranks > 0, ranks, np.inf)[order]
    found = rank[:, None] <= k
    gains = np.where(found, 1 / np.log2(rank + 1)[:, None], 0)
    ideal = np.cumsum(1 / np.log2(np.arange(2, k.max() + 2)))
    first = np.minimum.reduceat(rank, starts)
    hits = np.add.reduceat(found, starts, dtype=np.int64)
    values[:, 0] = hits / targets[:, None]
    values[:, 1] = hits > 0
    values[:, 2] = np.add.reduceat(gains, starts) / ideal[np.minimum(targets[:, None], k) - 1]
    values[:, 3] = np.where(hits > 0, 1 / first[:, None], 0)
    return codes, values


def per_user_sampled(
    users: np.ndarray, ranks: np.ndarray, ks: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Every metric of `SAMPLED_METRICS`, in the form that `per_user` returns; ranks int [rows] of sampled rankings.

    Each target has its own ranking, in which it is the only relevant item: hit@k = 1 if r <= k, ndcg@k = 1 / log2(r + 1)
    if r <= k. A user's value is the mean over the targets.
    """
    codes, of_user, targets = np.unique(users, return_inverse=True, return_counts=True)
    found = ranks[:, None] <= np.asarray(ks)
    values = np.zeros((len(codes), len(SAMPLED_METRICS), len(ks)))
    np.add.at(values[:, 0], of_user, found)
    np.add.at(values[:, 1], of_user, found / np.log2(ranks + 1.0)[:, None])
    return codes, values / targets[:, None, None]


@dataclass(frozen=True)
class Moments:
    """Count, mean and squared deviations of rows of any shape, without the rows. Moments of disjoint rows can be added.

    n: number of rows. mean and deviations (sum of (x - mean)^2): float64, in the shape of one row. The sum is that of
    Chan, Golub and LeVeque (1979).
    """

    n: int
    mean: np.ndarray
    deviations: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Self:
        """The moments of rows [n, ...]."""
        if not len(rows):
            return cls(0, np.zeros(rows.shape[1:]), np.zeros(rows.shape[1:]))
        mean = rows.mean(axis=0, dtype=np.float64)
        return cls(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))

    def __add__(self, other: "Moments") -> "Moments":
        n = self.n + other.n
        difference, share = other.mean - self.mean, other.n / max(n, 1)
        deviations = self.deviations + other.deviations + difference**2 * self.n * share
        return Moments(n, self.mean + difference * share, deviations)

    @property
    def variance(self) -> np.ndarray:
        """The unbiased variance; NaN if there are fewer than two rows."""
        return self.deviations / (self.n - 1) if self.n > 1 else np.full(self.mean.shape, np.nan)

    def t_test(self) -> tuple[np.ndarray, np.ndarray]:
        """t of the mean against 0 and its two-sided p, from Student's distribution with n - 1 degrees of freedom.

        For paired differences this is the paired t-test. NaN if all rows are equal or there are fewer than two.
        """
        error = np.sqrt(self.variance / max(self.n, 1))
        varies = error > NO_VARIATION * np.abs(self.mean)
        t = np.divide(self.mean, error, out=np.full(self.mean.shape, np.nan), where=varies)
        return t, 2 * special.stdtr(max(self.n - 1, 1), -np.abs(t))
