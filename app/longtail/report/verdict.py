"""The verdict: what to serve, what it gains, what it cost and what did not help, in at most four sentences.

`longtail.report.contenders` names the fits on validation. That with the LLM is advised only if it is above everything
without an LLM there and the test then confirms a gain, on all users or on the long tail. So the test can reject, but it
never chooses: no fit is advised because of its figure on the test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longtail.evaluation.slices import ENOUGH_TARGETS
from longtail.progress import duration
from longtail.ranking_metrics import lift
from longtail.recipe import NO_LIST
from longtail.report.contenders import METRIC, Contenders, Fit, contenders, loses
from longtail.report.summary import Comparison, signed, title
from longtail.variants import VARIANTS, controls_of, label

SLICE_WORDS = {"tail": "the long tail", "sparse": "sparse users"}
"""The slices of a constraint that have a name in sentences. Others keep the name that the recipe gives them."""


@dataclass(frozen=True)
class Verdict:
    """sentences: at most four. serve: the recommender, the variant, the training set and the list that are advised, in the
    words of a recipe's `serving`; None if nothing is. shown: the first fit with the LLM on validation, None without one;
    the page shows a list of it.
    """

    sentences: tuple[str, ...]
    serve: dict[str, str] | None
    shown: Fit | None


def verdict(metrics: Mapping[str, Any]) -> Verdict:
    """The verdict on the content of `metrics.json`."""
    found = contenders(metrics)
    if not found.plain:
        return Verdict(tuple(_undecided(found)), None, None)
    if not found.first:
        opening = f"Serve {fit_words(found.plain)}: {_place(found, found.plain)}; no LLM was asked."
        return Verdict((opening, *_plain(found), *_cost(found)), _serve(found.plain), None)
    refused = _refused_on_validation(found)
    advised = found.plain if refused or not found.confirmed else found.first
    opening = _advice(found) if advised == found.first else _refusal(found, refused)
    sentences = (opening, _gain(found), *_cost(found), *_others(found, advised))
    return Verdict(sentences, _serve(advised), found.first)


def fit_words(fit: Fit) -> str:
    """«Swing trained on judged», «Swing trained on observed, fused with the LLM's list», «Swing, served itemcf»"""
    recommender, variant = fit
    made, name = VARIANTS[variant], title(recommender)
    if made.fitted_on and made.is_control:
        return f"{name}, {label(variant)}"
    fused = ", fused with the LLM's list" if made.fitted_on else ""
    return f"{name} trained on {label(made.fitted_on or variant)}{fused}"


def _serve(fit: Fit) -> dict[str, str]:
    recommender, variant = fit
    made = VARIANTS[variant]
    listed = made.sources[0] if made.fitted_on else NO_LIST
    return {
        "recommender": recommender,
        "variant": variant,
        "trained_on": made.fitted_on or variant,
        "list": listed,
    }


def _place(found: Contenders, fit: Fit) -> str:
    """That it is the first on validation, among how many, and how many have no figure there."""
    many, value = len(found.ndcg), f"NDCG@10 {found.ndcg[fit]:.4f}"
    left = f"; {found.unmeasured} without a figure there were left out" if found.unmeasured else ""
    if found.lost:
        left += f"; {len(found.lost)} that {'lose' if len(found.lost) > 1 else 'loses'} {_slices(found)} there cannot be"
    words = (
        f"of {many} fits it is first on validation"
        if many > 1
        else "it is the only fit with a validation figure"
    )
    return f"{words} ({value}{left})"


def _advice(found: Contenders) -> str:
    rival = f"the first without an LLM is {fit_words(found.without)}, {found.ndcg[found.without]:.4f}"
    return f"Serve {fit_words(found.first)}: {_place(found, found.first)}; {rival}."


def _refused_on_validation(found: Contenders) -> str:
    """Why validation alone refuses the LLM. Empty if it does not."""
    first, without = found.first, found.without
    if first in found.lost:
        (name, loss), *_ = found.lost[first].items()
        loss = f"{fit_words(first)} {-loss:.4f} NDCG@10 on {SLICE_WORDS.get(name, name)}"
        return f"every fit with it loses {_slices(found)} on validation, {loss}"
    if found.ndcg[without] >= found.ndcg[first]:
        return (
            f"{fit_words(first)}, the first fit with it on validation, is not above what does without it"
            f" {_figures(found)}"
        )
    return ""


def _refusal(found: Contenders, refused: str) -> str:
    first = fit_words(found.first)
    reason = refused or f"{first} is first on validation {_figures(found)}, but the test does not confirm it"
    helped = any(one.sure for one in found.claims())
    opening = "not with the LLM, because" if helped else "nothing made with the LLM is shown to help;"
    return f"Serve the plain recommender, {fit_words(found.plain)}: {opening} {reason}."


def _figures(found: Contenders) -> str:
    control = ", a control," if VARIANTS[found.without[1]].is_control else ""
    first, without = (f"{found.ndcg[fit]:.4f}" for fit in (found.first, found.without))
    return f"(NDCG@10 {first}; {fit_words(found.without)}{control} has {without})"


def _slices(found: Contenders) -> str:
    return " or ".join(SLICE_WORDS.get(name, name) for name in found.metrics["choice"]["slices"])


def _gain(found: Contenders) -> str:
    """What the first fit with the LLM has on the test, over its best rival, on all users and on the long tail."""
    everybody, tail = found.of(found.first, "all"), found.of(found.first, "items:tail")
    if not everybody or everybody.thin or not everybody.over_best:
        many = everybody.targets if everybody else 0
        return f"The test has {many:,} targets, which is too few to say what the LLM does to {found.subject}."
    controls = {*controls_of(found.first[1])} & {
        row["variant"] for row in found.metrics["rows"] if row["recommender"] == found.first[0]
    }
    said = f"On the test {fit_words(found.first)} has {found.subject} {_over(everybody, 'all users')}"
    if not tail or tail.thin:
        said += f"; the long tail has {tail.targets if tail else 0} targets, too few to speak of it"
    elif tail.over_best:
        lost = loses(tail)
        said += (
            f"; on the long tail it loses: {_over(tail)}" if lost else f", and {_over(tail, 'the long tail')}"
        )
    return said + ("." if controls else "; no control was evaluated, so an LLM may not be needed for it.")


def _over(one: Comparison, part: str = "") -> str:
    """«0.1200 for all users, +0.0200 over its best rival, itemcf (+20 %, 95 % interval +0.0100 to +0.0300, sure …)»"""
    over = one.over_best
    share = lift(one.value, one.value - over["value"])
    parts = [] if share is None else [f"{signed(100 * share, '.0f')} %"]
    if over["ci_low"] is not None:
        parts.append(f"95 % interval {signed(over['ci_low'], '.4f')} to {signed(over['ci_high'], '.4f')}")
    parts.append("sure when corrected" if one.sure else "not sure when corrected")
    against = f"{'against' if one.behind else 'over'} its best rival, {label(over['base'])}"
    whom = f" for {part}" if part else ""
    return f"{one.value:.4f}{whom}, {signed(over['value'], '.4f')} {against} ({', '.join(parts)})"


def _plain(found: Contenders) -> list[str]:
    """The figures of the first plain fit on the test."""
    rows = {
        row["slice"]: row
        for row in found.metrics["rows"]
        if (row["recommender"], row["variant"], row["metric"], row["k"]) == (*found.plain, METRIC, found.k)
    }
    if "all" not in rows:
        return []
    if rows["all"]["targets"] < ENOUGH_TARGETS:
        return [
            f"The test has {rows['all']['targets']:,} targets, which is too few to speak of {found.subject}."
        ]
    words = f"On the test it has {found.subject} {rows['all']['value']:.4f} for all users"
    tail = rows.get("items:tail")
    if tail and tail["targets"] >= ENOUGH_TARGETS:
        words += f" and {tail['value']:.4f} for the long tail"
    return [words + "."]


def _cost(found: Contenders) -> list[str]:
    spent, prices = found.metrics["spent"], found.metrics["recipe"]["prices"]
    parts = [f"{duration(seconds)} for {what}" for what, seconds in spent["parts"].items() if seconds]
    words = f"The run took {duration(spent['seconds'])} of computing"
    words += f", of which {' and '.join(parts)}" if parts else ""
    hours = spent["money"] - (spent["asked"] or 0.0)
    if prices["hour"]:
        words += f", {_money(hours, prices)} at {prices['hour']:g} {prices['currency']} an hour"
        words += f" and {_money(spent['asked'], prices)} for the LLM's answers" if spent["asked"] else ""
    return [words + "."]


def _money(amount: float, prices: Mapping[str, Any]) -> str:
    return (
        f"about {amount:,.2f} {prices['currency']}"
        if amount >= 0.01
        else f"less than 0.01 {prices['currency']}"
    )


def _others(found: Contenders, advised: Fit) -> list[str]:
    """What did not help: the LLM's fits that are not surely above their best rivals on all users."""
    own = advised == found.first
    others = [one for one in found.claims("all") if not own or (one.recommender, one.variant) != advised]
    unsure = [one for one in others if not one.sure]
    if not others:
        return []
    rest = f"{len(others)} {'other ' * own}fit{'s' * (len(others) > 1)} with the LLM"
    if not unsure:
        return [f"Of {rest} every one is surely above its best rival on all users."]
    many = f"of {rest} {len(unsure)} {_is(unsure)} not" if len(unsure) < len(others) else f"none of {rest} is"
    words = f"What did not help: {many} surely above its best rival on all users"
    if behind := [one for one in unsure if one.behind]:
        worst = min(behind, key=lambda one: one.over_best["value"])
        words += (
            f", and {len(behind)} {_is(behind)} below it, the furthest"
            f" {fit_words((worst.recommender, worst.variant))} ({signed(worst.over_best['value'], '.4f')})"
        )
    if tail := found.claims("items:tail"):
        words += f"; on the long tail {sum(one.sure for one in tail) or 'none'} of {len(tail)} {_is(tail)} surely above"
    return [words + "."]


def _is(found: Sequence[Comparison]) -> str:
    return "is" if len(found) == 1 else "are"


def _undecided(found: Contenders) -> Iterator[str]:
    choice = found.metrics["choice"]
    if not choice["figures"]:
        yield "No recommender was evaluated, so nothing is advised."
    else:
        yield "No user has a validation item, and the test must not choose, so nothing is advised."
        if served := choice["served"]:
            yield f"The recipe names {fit_words((served['recommender'], served['variant']))}."
    yield from _cost(found)
