"""Users and pairs as crossed random effects: how sure a mean over both is.

A *pair* is one generator and one seed of the recommender. Every user is ranked by every pair, so the value of user i with
pair j is y_ij = mean + user_i + pair_j + rest_ij. A figure speaks of users and of fits that were not drawn, so the variance
of both belongs to it. With n users, m pairs and the mean squares of the two-way layout without replication,

    error² = (A + B) / (n m),  A = MS_pairs,  B = max(MS_users − MS_rest, 0)

as in studies in which every reader reads every case (Dorfman, Berbaum and Metz, Investigative Radiology 1992; Hillis,
Statistics in Medicine 2007). A has only m − 1 degrees of freedom, so the quantile of the test is the mean of those of
Student's t with m − 1 and n − 1 degrees of freedom, weighted by A and B (Cochran and Cox, Experimental Designs, 1957).

Satterthwaite's degrees of freedom cover too seldom with three pairs, because A is by chance too small as often as it gives
many of them. A bootstrap of users and pairs (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007) cannot stand
in either: three pairs have ten different resamples. docs/methods/uncertainty.md has what each of them covers.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

from longtail.evaluation.significance import LEVEL
from longtail.ranking_metrics import NO_VARIATION, Moments

SMALLEST = 1e-30
"""A smaller p is given as this."""
HALVINGS = 60


@dataclass(frozen=True)
class Crossed:
    """Sums over users of the values that each pair gives them; those of disjoint users can be added.

    of_pairs: Moments of [pairs, ...], the users' values with each pair. of_means: Moments of [...], the users' means over
    the pairs.
    """

    of_pairs: Moments
    of_means: Moments

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """From values [users, pairs, ...]."""
        return cls(Moments.of(values), Moments.of(values.mean(axis=1)))

    def __add__(self, other: "Crossed") -> "Crossed":
        return Crossed(self.of_pairs + other.of_pairs, self.of_means + other.of_means)

    def only(self, cell: int) -> "Crossed":
        """Of values [users, pairs, n], those in one of the n cells."""
        one = slice(cell, cell + 1)
        pairs, means = self.of_pairs, self.of_means
        return Crossed(
            Moments(pairs.n, pairs.mean[:, one], pairs.deviations[:, one]),
            Moments(means.n, means.mean[one], means.deviations[one]),
        )

    @property
    def pairs(self) -> int:
        return len(self.of_pairs.mean)

    @property
    def mean(self) -> np.ndarray:
        return self.of_means.mean

    def t_test(self) -> tuple[np.ndarray, np.ndarray]:
        """t of the mean against 0 and its two-sided p, float64 [...] each. NaN where nothing varies.

        With one pair it is the paired t-test over users: the variance of pairs is then not in it.
        """
        error, share = self.error()
        varies = error > NO_VARIATION * np.abs(self.mean)
        t = np.divide(self.mean, error, out=np.full(error.shape, np.nan), where=varies)
        return t, self._two_sided(np.abs(t), share)

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The two ends of the 95 % interval of the mean, float64 [...] each. NaN if there are fewer than two users."""
        error, share = self.error()
        reach = self._quantile(np.full(error.shape, (1 - LEVEL) / 2), share) * error
        return self.mean - reach, self.mean + reach

    def error(self) -> tuple[np.ndarray, np.ndarray]:
        """The standard error of the mean, and the share of A in its square, float64 [...] each.

        With one pair A is not known and counted as 0. NaN if there are fewer than two users.
        """
        n, m = self.of_means.n, self.pairs
        users = m * self.of_means.variance
        pairs = rest = np.zeros(users.shape)
        if m > 1:
            rest = self.of_pairs.deviations.sum(axis=0) - m * self.of_means.deviations
            rest = np.maximum(rest, 0) / (max(n - 1, 1) * (m - 1))
            pairs = n * self.of_pairs.mean.var(axis=0, ddof=1)
        total = pairs + np.maximum(users - rest, 0)
        share = np.divide(pairs, total, out=np.zeros(total.shape), where=total > 0)
        return np.sqrt(total / max(n * m, 1)), share

    def _quantile(self, tail: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The t with this probability above it."""
        of_users = -special.stdtrit(max(self.of_means.n - 1, 1), tail)
        if self.pairs == 1:
            return of_users
        return share * -special.stdtrit(self.pairs - 1, tail) + (1 - share) * of_users

    def _two_sided(self, t: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The p of t >= 0: where the quantile is t, found by halving an interval of log p."""
        if self.pairs == 1:
            return 2 * special.stdtr(max(self.of_means.n - 1, 1), -t)
        low, high = np.full(t.shape, np.log(SMALLEST)), np.zeros(t.shape)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            too_small = self._quantile(np.exp(middle) / 2, share) > t
            low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
        return np.where(np.isnan(t), np.nan, np.exp(high))
