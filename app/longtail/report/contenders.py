"""The fits between which the verdict decides, each named by validation, and what the test says of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longtail.report.choice_words import means
from longtail.report.summary import Comparison, compare, nearest_ten
from longtail.variants import VARIANTS

METRIC = "recall"
Fit = tuple[str, str]
"""A recommender and a variant."""


@dataclass(frozen=True)
class Contenders:
    """first, plain, without: the first on validation with the LLM, the first on the observed log
    alone, and the first without an LLM, controls included; None if there is none. lost: the slices of the recipe's
    constraint that a fit loses on validation, with the differences; such a fit is first only if there is no other.
    """

    metrics: Mapping[str, Any]
    k: int
    ndcg: dict[Fit, float]
    lost: dict[Fit, dict[str, float]]
    comparisons: list[Comparison]
    first: Fit | None
    plain: Fit | None
    without: Fit | None

    @property
    def subject(self) -> str:
        return f"{METRIC.capitalize()}@{self.k}"

    def of(self, fit: Fit | None, part: str) -> Comparison | None:
        own = (one for one in self.comparisons if (one.recommender, one.variant, one.slice) == (*fit, part))
        return next(own, None) if fit else None

    def claims(self, part: str | None = None) -> list[Comparison]:
        """The comparisons of the LLM's fits with their best rivals, without slices of few targets."""
        found = (one for one in self.comparisons if one.over_best and not one.thin)
        return [one for one in found if one.slice == part or part is None and one.p_adjusted is not None]

    @property
    def confirmed(self) -> bool:
        """Whether the test confirms a gain of `first`, and no loss on all users."""
        everybody, tail = self.of(self.first, "all"), self.of(self.first, "items:tail")
        spoken = [one for one in (everybody, tail) if one and not one.thin]
        return any(one.sure for one in spoken) and not (everybody and loses(everybody))

    @property
    def unmeasured(self) -> int:
        """The number of fits that might be served but have no figure on validation."""
        rows = self.metrics["rows"]
        fits = {(row["recommender"], row["variant"]) for row in rows if _may_be_served(row["variant"])}
        return len(fits - set(self.ndcg))


def contenders(metrics: Mapping[str, Any]) -> Contenders:
    """The fits in the content of `metrics.json`."""
    k, ndcg = nearest_ten(metrics["recipe"]["evaluation"]["ks"]), means(metrics["choice"])
    figures = metrics["choice"]["figures"]
    lost = {(one["recommender"], one["variant"]): one["lost"] for one in figures if one["lost"]}

    def best(kind: str) -> Fit | None:
        fits = [fit for fit in ndcg if _kind(fit) in kind.split()]
        return max([fit for fit in fits if fit not in lost] or fits, key=ndcg.__getitem__, default=None)

    kinds = best("llm"), best("observed"), best("observed control")
    return Contenders(metrics, k, ndcg, lost, compare(metrics["rows"], METRIC, k), *kinds)


def _kind(fit: Fit) -> str:
    made = VARIANTS[fit[1]]
    return "llm" if made.by_llm else "control" if made.is_control else made.kind


def loses(one: Comparison) -> bool:
    """Whether the interval of its difference from its best rival lies below 0."""
    over = one.over_best
    return not one.thin and bool(over) and over["ci_high"] is not None and over["ci_high"] < 0


def _may_be_served(variant: str) -> bool:
    """Whether it might be served: not a control, not a list alone, nothing that uses the answer key."""
    made = VARIANTS[variant]
    return made.kind == "observed" or (made.by_llm and not made.hits_removed)
