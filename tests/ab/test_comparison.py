"""Intervals, sample sizes and verdicts, against formulas by hand, other libraries and simulated tests."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from longtail.ab.ab_words import sentences
from longtail.ab.attribution import Outcomes
from longtail.ab.comparison import compare_arms, newcombe, sample, wilson
from longtail.event_log.arms_record import ArmsRecord

Z = NormalDist().inv_cdf(0.975)


def outcomes(
    shares: dict[str, float], users: dict[str, list[tuple[int, int]]], moved: int = 0, without: int = 0
) -> Outcomes:
    """users: by arm, the (recommendations, successful ones) of each user."""
    rows = [
        (arm, f"{arm}{number}", *counts) for arm, own in users.items() for number, counts in enumerate(own)
    ]
    frame = pl.DataFrame(
        rows,
        schema={
            "arm": pl.String,
            "user_id": pl.String,
            "recommendations": pl.Int64,
            "successful": pl.Int64,
        },
        orient="row",
    )
    return Outcomes(ArmsRecord(0, shares, "", {}), frame, moved, without)


def halves(*counts: tuple[int, int]) -> Outcomes:
    """Two arms, a and b; for each how many users, and how many of them with success: one recommendation each."""
    users = {
        name: [(1, 1)] * lucky + [(1, 0)] * (n - lucky) for name, (n, lucky) in zip("ab", counts, strict=True)
    }
    return outcomes({"a": 0.5, "b": 0.5}, users)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_as_scipy_has_it(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts, Z) == pytest.approx((counts[0] / counts[1], *expected), abs=1e-12)


@pytest.mark.parametrize(
    ("arm", "baseline", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_newcombe_as_he_published_it(
    arm: tuple[int, int], baseline: tuple[int, int], low: float, high: float
) -> None:
    assert newcombe(arm, baseline, Z) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_holds_its_level() -> None:
    """10,000 simulated tests with few successes, where Wald's interval is far off."""
    rng = np.random.default_rng(7)
    arm, baseline = rng.binomial(200, 0.02, 10_000), rng.binomial(300, 0.01, 10_000)
    ends = [newcombe((a, 200), (b, 300), Z) for a, b in zip(arm.tolist(), baseline.tolist(), strict=True)]
    covered = np.mean([low <= 0.01 <= high for low, high in ends])
    assert 0.94 < covered < 0.985


def test_users_and_recommendations_by_hand() -> None:
    found = outcomes({"a": 0.5, "b": 0.5}, {"a": [(4, 1), (1, 0)], "b": [(2, 1), (2, 1)]})
    users, recommendations = compare_arms(found, "users"), compare_arms(found, "recommendations")
    assert [(one.rate, one.users, one.recommendations) for one in users.arms] == [(0.5, 2, 5), (1.0, 2, 4)]
    assert [one.rate for one in recommendations.arms] == [0.2, 0.5]
    # y - R n = (1 - .8, 0 - .2), their mean square .04, the mean of n squared 6.25
    assert [one.variance for one in recommendations.arms] == pytest.approx([0.04 / 6.25, 0.0])
    (one,) = recommendations.compared
    half = Z * sqrt(0.04 / 6.25 / 2)
    assert (one.difference, one.low, one.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))


def test_the_interval_of_recommendations_knows_that_they_belong_to_users() -> None:
    """Simulated: the recommendations of one user succeed together. Counting each for itself would cover far too little."""
    rng, covered, runs = np.random.default_rng(7), 0, 400
    for _ in range(runs):
        arms = {}
        for name in "ab":
            taste, n = rng.beta(0.3, 1.2, 300), rng.integers(1, 20, 300)
            arms[name] = list(zip(n.tolist(), rng.binomial(n, taste).tolist(), strict=True))
        (one,) = compare_arms(outcomes({"a": 0.5, "b": 0.5}, arms), "recommendations").compared
        covered += one.low <= 0 <= one.high
    assert 0.92 < covered / runs < 0.98


def test_the_sample_is_large_enough_and_not_much_larger() -> None:
    """Simulated: with the planned users a difference of 20 % is found in about 80 % of the tests."""
    rng = np.random.default_rng(7)
    baseline = compare_arms(halves((1000, 100), (1000, 100))).baseline
    total = sample(baseline, 0.02, (0.5, 0.5), Z)
    n = round(total / 2)
    drawn = zip(rng.binomial(n, 0.12, 4000).tolist(), rng.binomial(n, 0.1, 4000).tolist(), strict=True)
    power = np.mean([newcombe((a, n), (b, n), Z)[0] > 0 for a, b in drawn])
    assert 0.74 < power < 0.83  # the arm's variance is a little larger than the baseline's


def test_too_early_says_how_many_users_are_missing() -> None:
    found = compare_arms(halves((500, 50), (480, 90)), smallest=0.2)
    (one,) = found.compared
    n = (Z + NormalDist().inv_cdf(0.8)) ** 2 * 0.1 * 0.9 * 2 / 0.02**2
    assert one.needed == pytest.approx(n, abs=1)
    assert (one.missing, one.baseline_missing) == (one.needed - 480, one.needed - 500)
    assert one.low > 0, "it looks like a winner"
    assert one.verdict == "too early"
    (said,) = sentences(found)
    assert f"{one.missing:,} users in b and {one.baseline_missing:,} users in a are still missing" in said


@pytest.mark.parametrize(
    ("lucky", "verdict", "says"),
    [
        (1300, "wins", "b wins against a: its share of users with an attributed event is 3.00 points above"),
        (1000, "no difference", "b neither wins nor loses"),
        (700, "loses", "b loses against a: its share of users with an attributed event is 3.00 points below"),
    ],
)
def test_a_verdict_when_the_sample_is_complete(lucky: int, verdict: str, says: str) -> None:
    found = compare_arms(halves((10_000, 1000), (10_000, lucky)), smallest=0.2)
    assert [one.verdict for one in found.compared] == [verdict]
    assert sentences(found)[0].startswith(says)


def test_no_verdict_if_the_split_is_wrong() -> None:
    found = compare_arms(halves((10_000, 1000), (9_000, 1300)), smallest=0.2)
    assert [one.verdict for one in found.compared] == ["uneven split"] and found.split_p < 1e-9
    assert "Do not use these figures" in " ".join(sentences(found))


def test_several_arms_are_compared_together() -> None:
    """By Bonferroni: the interval of each is wider, and more users are needed."""
    one = [(1, 1)] * 100 + [(1, 0)] * 900
    two = compare_arms(outcomes({"a": 0.5, "b": 0.5}, {"a": one, "b": one})).compared[0]
    three = compare_arms(outcomes({"a": 0.4, "b": 0.3, "c": 0.3}, {"a": one, "b": one, "c": one})).compared
    assert [other.arm for other in three] == ["b", "c"]
    assert three[0].high - three[0].low > two.high - two.low
    z = NormalDist().inv_cdf(1 - 0.05 / 4) + NormalDist().inv_cdf(0.8)
    assert three[0].needed == pytest.approx(0.3 * z**2 * 0.09 * (1 / 0.3 + 1 / 0.4) / 0.01**2, abs=1)


def test_two_users_are_no_sample() -> None:
    """One of one and none of one has no variance, which must not be taken for certainty."""
    for of in ("users", "recommendations"):
        (one,) = compare_arms(halves((1, 1), (1, 0)), of).compared
        assert (one.verdict, one.needed, one.missing) == ("too early", 100, 99)


def test_nothing_yet() -> None:
    empty = compare_arms(outcomes({"a": 0.5, "b": 0.5}, {"a": [], "b": []}))
    assert empty.compared[0].verdict == "too early" and "has not served a user yet" in sentences(empty)[0]
    nobody = compare_arms(halves((10, 0), (10, 1)))
    assert (nobody.compared[0].needed, nobody.compared[0].verdict) == (None, "too early")
    assert "a has no attributed event" in sentences(nobody)[0]
    alone = compare_arms(outcomes({"a": 1.0}, {"a": [(1, 1)]}, moved=1200, without=3))
    assert alone.compared == []
    assert [said.split()[0] for said in sentences(alone)] == ["There", "1,200", "3"]
