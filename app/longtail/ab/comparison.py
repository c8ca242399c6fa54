"""Arms against the baseline: intervals, the sample that is needed, and the verdict.

The sample is planned: it is large enough to find a difference of `smallest` (relative to the baseline) in 80 % of the cases.
There is no verdict before it is complete, because whoever looks every day and stops at the first good day finds a winner far
too often (Johari et al., KDD 2017, arXiv 1512.04922).
"""

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import polars as pl

from longtail.ab import Rate
from longtail.ab.attribution import Outcomes

LEVEL, POWER = 0.95, 0.8
FEWEST = 100
"""Users that each arm needs in any case: the variance of fewer is too rough to plan with."""
UNEVEN = 0.001
"""The p below which the split of the users is called wrong; a usual bound for a check that is made all the time."""
Verdict = Literal["wins", "loses", "no difference", "too early", "uneven split"]


@dataclass(frozen=True)
class ArmRate:
    """One arm. rate: the share of users, or of recommendations, with an attributed event; None if nothing was served.

    variance: that of `rate` times the number of users.
    """

    arm: str
    share: float
    users: int
    recommendations: int
    successful_users: int
    successful_recommendations: int
    rate: float | None
    variance: float


@dataclass(frozen=True)
class Compared:
    """An arm against the baseline. difference: of the rates, arm − baseline; low, high: its interval.

    needed, missing: users in the arm; baseline_missing: users in the baseline. None if the baseline has no attributed event,
    so that nothing can be planned.
    """

    arm: str
    difference: float | None
    low: float | None
    high: float | None
    needed: int | None
    missing: int | None
    baseline_missing: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All arms. split_p: how likely so uneven a split of the users is by chance (χ²)."""

    of: Rate
    smallest: float
    baseline: ArmRate
    arms: list[ArmRate]
    compared: list[Compared]
    split_p: float
    moved: int
    without: int

    def told(self) -> dict[str, Any]:
        return asdict(self)


def compare_arms(found: Outcomes, of: Rate = "users", smallest: float = 0.1) -> Comparison:
    """Compare every arm with the first one, on all users together at a level of 95 % (Bonferroni).

    of: what is counted, users or recommendations. smallest: the smallest difference that matters, relative to the baseline's
    rate.
    """
    arms = [
        _rate(name, share, found.users.filter(pl.col("arm") == name), of)
        for name, share in found.arms.shares.items()
    ]
    baseline, *others = arms
    split_p = _split_p(arms)
    confidence = NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / max(1, len(others)))
    compared = [_compared(one, baseline, of, smallest, confidence, uneven=split_p < UNEVEN) for one in others]
    return Comparison(of, smallest, baseline, arms, compared, split_p, found.moved, found.without)


def _rate(arm: str, share: float, users: pl.DataFrame, of: Rate) -> ArmRate:
    served, successful = (users[name].to_numpy() for name in ("recommendations", "successful"))
    n, lucky = len(served), int((successful > 0).sum())
    rate, variance = None, 0.0
    if n and of == "users":
        rate = lucky / n
        variance = rate * (1 - rate)
    elif n:
        # Recommendations of one user belong together, so users are the sample: the variance of a ratio of two means by
        # the delta method (Deng et al., KDD 2018, arXiv 1803.06336, section 3.1).
        rate = float(successful.sum() / served.sum())
        variance = float(np.var(successful - rate * served) / served.mean() ** 2)
    return ArmRate(arm, share, n, int(served.sum()), lucky, int(successful.sum()), rate, variance)


def _compared(
    arm: ArmRate, baseline: ArmRate, of: Rate, smallest: float, confidence: float, uneven: bool
) -> Compared:
    if arm.rate is None or baseline.rate is None:
        return Compared(arm.arm, None, None, None, None, None, None, "too early")
    difference = arm.rate - baseline.rate
    if of == "users":
        low, high = newcombe(
            (arm.successful_users, arm.users), (baseline.successful_users, baseline.users), confidence
        )
    else:
        half = confidence * sqrt(arm.variance / arm.users + baseline.variance / baseline.users)
        low, high = difference - half, difference + half
    needed = missing = baseline_missing = None
    if baseline.rate:
        total = sample(baseline, smallest * baseline.rate, (arm.share, baseline.share), confidence)
        needed, needed_of_baseline = (
            max(FEWEST, ceil(total * share)) for share in (arm.share, baseline.share)
        )
        missing, baseline_missing = (
            max(0, needed - arm.users),
            max(0, needed_of_baseline - baseline.users),
        )
    if uneven:
        verdict: Verdict = "uneven split"
    elif missing != 0 or baseline_missing != 0:
        verdict = "too early"
    else:
        verdict = "wins" if low > 0 else "loses" if high < 0 else "no difference"
    return Compared(arm.arm, difference, low, high, needed, missing, baseline_missing, verdict)


def sample(baseline: ArmRate, difference: float, shares: tuple[float, float], confidence: float) -> float:
    """How many users all arms of the test need together, so that two with these shares tell a difference of their rates.

    The variance of the arm is taken to be that of the baseline. confidence: the z of the interval.
    """
    z = confidence + NormalDist().inv_cdf(POWER)
    return z**2 * baseline.variance * sum(1 / share for share in shares) / difference**2


def newcombe(arm: tuple[int, int], baseline: tuple[int, int], z: float) -> tuple[float, float]:
    """The interval of the difference of two shares, each (successes, trials), from two Wilson intervals.

    Newcombe, Statistics in Medicine 1998, method 10. It holds its level for few successes too.
    """
    (p, low, high), (q, low_q, high_q) = wilson(*arm, z), wilson(*baseline, z)
    return (
        p - q - sqrt((p - low) ** 2 + (high_q - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - low_q) ** 2),
    )


def wilson(successes: int, trials: int, z: float) -> tuple[float, float, float]:
    """A share, and the two ends of its interval (Wilson, Journal of the American Statistical Association 1927)."""
    p = successes / trials
    middle = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return p, middle - half, middle + half


def _split_p(arms: list[ArmRate]) -> float:
    """The p of the χ² test that users are split as the shares say; 1 if there are too few users to tell."""
    seen = np.array([arm.users for arm in arms])
    expected = seen.sum() * np.array([arm.share for arm in arms])
    if len(arms) < 2 or expected.min() < 5:
        return 1.0
    from scipy.stats import chi2  # takes half a second

    return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), len(arms) - 1))
