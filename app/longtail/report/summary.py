"""Sentences that sum up the figures. They never claim more than their intervals show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from longtail.evaluation.slices import ENOUGH_TARGETS
from longtail.registry import recommender_spec
from longtail.variants import LLM_VARIANTS, VARIANTS, controls_of, label

ALPHA = 0.05
"""An adjusted p below this is called sure."""
SLICES = {"all": "all users", "items:tail": "long-tail items", "users:sparse": "sparse users"}
"""The slices that have sentences and plots."""


def title(recommender: str) -> str:
    """What tables, plots and sentences call it."""
    return recommender_spec(recommender).title


@dataclass(frozen=True)
class Comparison:
    """A variant in one slice; [low, high] is the 95 % interval of value - observed, over `pairs` pairs.

    over_best: the difference from the best of observed and its controls, None for a variant without an LLM; p_adjusted: its
    p, adjusted for all that the page compares, None if it is not compared there.
    """

    recommender: str
    variant: str
    slice: str
    n: int
    targets: int
    value: float
    observed: float
    lift: float | None
    low: float
    high: float
    pairs: int
    over_best: dict[str, Any] | None
    p_adjusted: float | None

    @property
    def name(self) -> str:
        return title(self.recommender)

    @property
    def thin(self) -> bool:
        """Whether the slice has too few targets for a sentence."""
        return self.targets < ENOUGH_TARGETS

    @property
    def sure(self) -> bool:
        """Whether it is above its best rival, by a test that is corrected for all others of the page."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA and self.over_best["value"] > 0

    @property
    def behind(self) -> bool:
        """Whether its best rival has the higher value, sure or not."""
        return self.over_best is not None and self.over_best["value"] < 0


def compare(rows: Iterable[dict[str, Any]], metric: str, k: int) -> list[Comparison]:
    """The comparisons in rows of `metrics.json` for one metric and k, in the order of rows."""
    rows = [row for row in rows if row["metric"] == metric and row["k"] == k]
    observed = {
        (row["recommender"], row["slice"]): row["value"] for row in rows if row["variant"] == "observed"
    }
    return [
        Comparison(
            **{name: row[name] for name in ("recommender", "variant", "slice", "n", "targets")},
            **{name: row[name] for name in ("value", "lift", "pairs", "over_best", "p_adjusted")},
            observed=observed[row["recommender"], row["slice"]],
            low=row["ci_low"],
            high=row["ci_high"],
        )
        for row in rows
        if row["ci_low"] is not None
    ]


def change(lift: float | None, difference: float, digits: int = 0) -> str:
    """«+12 %», or «+0.0123» if the base is so low that no lift in per cent is given."""
    return signed(difference, ".4f") if lift is None else f"{signed(100 * lift, f'.{digits}f')} %"


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
    """How the LLM changed `metric`, over all users and on the long tail, beside the best of what does without it."""
    variant = judged_variant(found)
    everybody, tail = _pick(found, variant, "all"), _pick(found, variant, "items:tail")
    if not everybody:
        return f"No LLM variant was evaluated, so its {metric} is not known."
    if everybody[0].thin:
        return f"The test has {everybody[0].targets} targets: too few to say what the LLM does to {metric}."
    subject, again = _subject(variant)
    sentence = f"{subject} {_deed(everybody, metric, 'recommender')}."
    return sentence + (f" On long-tail items {again} {_deed(tail, 'it', '')}." if _spoken(tail) else "")


def _subject(variant: str) -> tuple[str, str]:
    """The subject of a sentence about a variant, and the pronoun for it."""
    if VARIANTS[variant].kind == "served":
        return "Fused at serving, the LLM's list", "it"
    if VARIANTS[variant].prefers:
        return "Preferences stated by an LLM", "they"
    if VARIANTS[variant].sources == ("cold_users",):
        return "Users found for cold items", "they"  # perhaps by text alone
    return "Interactions written by an LLM", "they"


def evidence(found: Sequence[Comparison], precision: dict[str, dict[str, float]]) -> list[str]:
    """The sentences below the headline: the largest sure change, controls, judge, serving, precision."""
    found = [one for one in found if not one.thin]
    variant = judged_variant(found)
    if variant is None:
        return []
    sentences = [_largest(found), *(_controls(found, variant, name) for name in ("all", "items:tail"))]
    if variant == "discriminated":
        sentences += [_judge(found), _without_hits(found)]
    for served, declared in VARIANTS.items():
        if declared.kind == "served" and served != variant and (everybody := _pick(found, served, "all")):
            sentences.append(f"{declared.subject} {_deed(everybody, 'it', 'recommender')}.")
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


def _deed(found: Sequence[Comparison], metric: str, noun: str) -> str:
    """«surely raised Recall@10 above the best of observed and controls for 3 of 5 recommenders, and had less for 1»"""
    sure, behind = sum(one.sure for one in found), sum(one.behind for one in found)
    total = f"{len(found)} {noun}{'s' * (len(found) > 1)}" if noun else str(len(found))
    above = f"{metric} above the best of observed and controls"
    deed = f"surely raised {above} for {sure}" if sure else f"did not surely raise {above} for any"
    return f"{deed} of {total}" + (f", and had less for {behind}" if behind else "")


def _largest(found: Sequence[Comparison]) -> str:
    """The largest sure difference of all that the page compares."""
    family = [one for one in found if one.p_adjusted is not None]
    sure = [one for one in family if one.sure]
    if not family:
        return ""
    if not sure:
        return (
            f"None of {len(family)} comparisons with the best of observed and controls is sure after"
            " correction for their number: every lift here may be chance."
        )
    one = max(sure, key=lambda one: one.over_best["value"])
    over, verb = one.over_best, "is" if len(sure) == 1 else "are"
    return (
        f"Of {len(family)} comparisons with the best of observed and controls {len(sure)} {verb} surely higher after"
        f" correction for their number. The largest: {one.name}, {label(one.variant)}, on {SLICES[one.slice]},"
        f" {one.value - over['value']:.4f} ({label(over['base'])}) to {one.value:.4f} (difference"
        f" {signed(over['ci_low'], '.4f')} to {signed(over['ci_high'], '.4f')}{chance(one.p_adjusted)} after"
        " correction)."
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


def _judge(found: Sequence[Comparison]) -> str:
    """Whether the judge, who need not have asked a discriminator, chose better than the generator's own probability."""
    before = {one.recommender: one.value for one in _pick(found, "generated", "all")}
    pairs = [
        (one.value, before[one.recommender])
        for one in _pick(found, "discriminated", "all")
        if one.recommender in before
    ]
    better = sum(after > raw for after, raw in pairs)
    if not pairs:
        return ""
    return f"What the judge chose has a higher value than the generator's own choice for {better} of {len(pairs)}."


def _spoken(found: Sequence[Comparison]) -> bool:
    """Whether a sentence may speak of these comparisons of one slice."""
    return bool(found) and not found[0].thin


def _without_hits(found: Sequence[Comparison]) -> str:
    """What the proposals that equal a held-out item are worth. Empty if `without_hits` was not evaluated."""
    whole = {one.recommender: one.value for one in _pick(found, "discriminated", "all")}
    values = [
        f"{one.value:.4f} instead of {whole[one.recommender]:.4f} for {one.name}"
        f" ({signed(one.value - whole[one.recommender], '.4f')})"
        for one in _pick(found, "without_hits", "all")
        if one.recommender in whole
    ]
    if not values:
        return ""
    return (
        "Without the proposals that equal a held-out item (to remove them uses the answer key) the value of"
        f" {label('discriminated')} on all users is {', '.join(values)}."
    )


def _pick(found: Sequence[Comparison], variant: str | None, name: str) -> list[Comparison]:
    return [one for one in found if one.variant == variant and one.slice == name]
