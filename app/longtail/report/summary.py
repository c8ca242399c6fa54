"""Sentences that sum up the figures. They never claim more than their intervals show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from longtail.registry import recommender_spec
from longtail.variants import LLM_VARIANTS, VARIANTS, controls_of, label

SLICES = {"all": "all users", "items:tail": "long-tail items", "users:sparse": "sparse users"}
"""The slices that have sentences and plots."""


def title(recommender: str) -> str:
    """What tables, plots and sentences call it."""
    return recommender_spec(recommender).title


@dataclass(frozen=True)
class Comparison:
    """A variant compared with `observed` in one slice; [low, high] is the 95 % interval of value - observed.

    p: that of the paired t-test, None if it is not defined. over_control: the difference from the variant's control.
    """

    recommender: str
    variant: str
    slice: str
    n: int
    value: float
    observed: float
    lift: float | None
    low: float
    high: float
    p: float | None
    over_control: dict[str, Any] | None

    @property
    def name(self) -> str:
        return title(self.recommender)

    @property
    def sign(self) -> int:
        """1 if the interval lies above 0, -1 if below, 0 if it includes 0."""
        return (self.low > 0) - (self.high < 0)


def compare(rows: Iterable[dict[str, Any]], metric: str, k: int) -> list[Comparison]:
    """The comparisons in rows of `metrics.json` for one metric and k, in the order of rows."""
    rows = [row for row in rows if row["metric"] == metric and row["k"] == k]
    observed = {
        (row["recommender"], row["slice"]): row["value"] for row in rows if row["variant"] == "observed"
    }
    return [
        Comparison(
            **{name: row[name] for name in ("recommender", "variant", "slice", "n", "value", "lift")},
            observed=observed[row["recommender"], row["slice"]],
            low=row["ci_low"],
            high=row["ci_high"],
            p=row.get("p"),
            over_control=row.get("over_control"),
        )
        for row in rows
        if row["variant"] != "observed"
    ]


def signed(number: float, form: str) -> str:
    """A change with its sign, «−» for minus and no sign at 0: signed(-0.5, ".1f") is «−0.5»."""
    return format(number, f"+{form}").replace("-", "−") if float(format(number, form)) else format(0.0, form)


def chance(p: float | None) -> str:
    """«, p = 0.012», to be written after an interval. Empty without a p."""
    return "" if p is None else ", p < 0.001" if p < 0.001 else f", p = {p:.3f}"


def judged_variant(found: Sequence[Comparison]) -> str | None:
    """The LLM variant that the summary is about: the first of LLM_VARIANTS that was evaluated, not the best one."""
    return judged({one.variant for one in found})


def judged(present: set[str]) -> str | None:
    """The first of LLM_VARIANTS that is `present`."""
    return next((variant for variant in LLM_VARIANTS if variant in present), None)


def nearest_ten(ks: Sequence[int]) -> int:
    """The k nearest to 10, which the report uses."""
    return min(ks, key=lambda k: abs(k - 10))


def headline(found: Sequence[Comparison], metric: str) -> str:
    """How the LLM changed `metric`, over all users and on the long tail."""
    variant = judged_variant(found)
    everybody, tail = _pick(found, variant, "all"), _pick(found, variant, "items:tail")
    if not everybody:
        return f"No LLM variant was evaluated, so its {metric} is not known."
    subject, again = _subject(variant)
    sentence = f"{subject} {_deed(everybody, metric, 'recommender')}."
    return sentence + (f" On long-tail items {again} {_deed(tail, 'it', '')}." if tail else "")


def _subject(variant: str) -> tuple[str, str]:
    """The subject of a sentence about a variant, and the pronoun for it."""
    if VARIANTS[variant].kind == "served":
        return "Fused at serving, the LLM's list", "it"
    if VARIANTS[variant].prefers:
        return "Preferences stated by an LLM", "they"
    return "Interactions written by an LLM", "they"


def evidence(found: Sequence[Comparison], precision: dict[str, dict[str, float]]) -> list[str]:
    """The sentences below the headline: the largest change, controls, discriminator, serving, precision."""
    variant = judged_variant(found)
    if variant is None:
        return []
    sentences = [
        _largest(found, variant),
        *(_controls(found, variant, name) for name in ("all", "items:tail")),
        _over_control(found, variant),
    ]
    if variant == "discriminated":
        sentences.append(_discriminator(found))
    for served, declared in VARIANTS.items():
        if declared.kind == "served" and served != variant and (everybody := _pick(found, served, "all")):
            sentences.append(f"{declared.subject} {_deed(everybody, 'it', 'recommender')}.")
            sentences.append(_over_control(found, served))
    sentences += [_ranked_alone(found), *_uncontrolled(found)]
    if precision:
        shares = [f"{label(name)} {100 * known['value']:.0f} %" for name, known in precision.items()]
        sentences.append(f"Share of the added interactions that the user truly likes: {', '.join(shares)}.")
    return [sentence for sentence in sentences if sentence]


def _ranked_alone(found: Sequence[Comparison]) -> str:
    """The recommenders whose items were re-ranked. The others were not evaluated with that list."""
    own = list(dict.fromkeys(one.name for one in _pick(found, "served_ranking", "all")))
    others = len({one.recommender for one in found}) - len(own)
    if not own or not others:
        return ""
    return (
        f"Only the items of {' and '.join(own)} were re-ranked: the other {others}"
        f" recommender{'s are' if others > 1 else ' is'} not evaluated with that list."
    )


def _uncontrolled(found: Sequence[Comparison]) -> Iterator[str]:
    """The LLM variants whose own control was not evaluated, and the recommenders of which this is true."""
    present = {(one.recommender, one.variant) for one in found}
    for variant in LLM_VARIANTS:
        control = VARIANTS[variant].control
        lacking = [
            one.name for one in _pick(found, variant, "all") if (one.recommender, control) not in present
        ]
        if lacking:
            yield (
                f"Not compared with its own control ({control}), which was not evaluated: {label(variant)} of"
                f" {', '.join(lacking)}."
            )


def _over_control(found: Sequence[Comparison], variant: str) -> str:
    """The number of recommenders for which a variant is above its own control, or below, with intervals without 0."""
    known = [one.over_control for one in _pick(found, variant, "all") if one.over_control]
    if not known:
        return ""
    above, below = sum(one["ci_low"] > 0 for one in known), sum(one["ci_high"] < 0 for one in known)
    return (
        f"Compared with its control, {label(known[0]['base'])}, {label(variant)} is higher for {above} of {len(known)}"
        f" and lower for {below}, with intervals that exclude 0."
    )


def _deed(found: Sequence[Comparison], metric: str, noun: str) -> str:
    """«raised Recall@10 for 3 of 5 recommenders, lowered it for 1 and left 1 undecided»"""
    signs = [one.sign for one in found]
    total = f"{len(found)} {noun}{'s' * (len(found) > 1)}" if noun else str(len(found))
    if not any(signs):
        return f"did not measurably change {metric} for any of {total}"
    parts = []
    for sign, verb in ((1, "raised"), (-1, "lowered")):
        if count := signs.count(sign):
            parts.append(f"{verb} it for {count}" if parts else f"{verb} {metric} for {count} of {total}")
    if undecided := signs.count(0):
        parts.append(f"left {undecided} undecided")
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _largest(found: Sequence[Comparison], variant: str) -> str:
    sure = [one for one in found if one.variant == variant and one.slice in SLICES and one.sign]
    if not sure:
        return f"No interval of {label(variant)} − observed excludes 0 in these slices: every lift here is unproven."
    one = max(sure, key=lambda one: abs(one.value - one.observed))
    lift = "" if one.lift is None else f"{signed(100 * one.lift, '.0f')} %, "
    return (
        f"Largest change whose interval excludes 0: {one.name} on {SLICES[one.slice]}, {one.observed:.4f} to "
        f"{one.value:.4f} ({lift}difference {signed(one.low, '.4f')} to {signed(one.high, '.4f')}"
        f"{chance(one.p)})."
    )


def _controls(found: Sequence[Comparison], variant: str, name: str) -> str:
    """The number of recommenders for which a control without an LLM has a higher value than the LLM variant."""
    controls = {
        control: {one.recommender: one.value for one in _pick(found, control, name)}
        for control in controls_of(variant)
    }
    compared, won = 0, []
    for one in _pick(found, variant, name):
        rivals = [
            (values[one.recommender], control)
            for control, values in controls.items()
            if one.recommender in values
        ]
        compared += bool(rivals)
        if rivals and max(rivals)[0] > one.value:
            won.append(f"{one.name} ({label(max(rivals)[1])})")
    if not compared:
        return ""
    where, deed = f"On {SLICES[name]}", f"has a higher value than {label(variant)}"
    if not won:
        return f"{where} no control {deed} for any of {compared} recommenders."
    return f"{where} a control without an LLM {deed} for {len(won)} of {compared}: {', '.join(won)}."


def _discriminator(found: Sequence[Comparison]) -> str:
    before = {one.recommender: one.value for one in _pick(found, "generated", "all")}
    pairs = [
        (one.value, before[one.recommender])
        for one in _pick(found, "discriminated", "all")
        if one.recommender in before
    ]
    better = sum(after > raw for after, raw in pairs)
    return (
        f"The discriminator is better than the generator alone for {better} of {len(pairs)}." if pairs else ""
    )


def _pick(found: Sequence[Comparison], variant: str | None, name: str) -> list[Comparison]:
    return [one for one in found if one.variant == variant and one.slice == name]
