"""Sentences about an augmentation's cost, bias and agreement. They never claim more than their intervals show."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from longtail.augment.validation_pairs import PAIRS
from longtail.report.summary import signed, title
from longtail.variants import label


def unit_of(metrics: Mapping[str, Any]) -> str:
    """The unit of cost: the price table's currency, or million tokens if there is no price."""
    priced = metrics["cost"]["money"] is not None
    return metrics["recipe"]["prices"]["currency"] if priced else "million tokens"


def cost_sentences(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The cost, and the largest lift per cost whose interval lies above 0. Nothing if no LLM was asked."""
    total, unit = metrics["cost"], unit_of(metrics)
    if not total["requests"]:
        return
    tokens = total["prompt_tokens"] + total["output_tokens"] + total["judge_tokens"]
    each = f"; {total['tokens_per_accepted']:,.1f} tokens for each accepted one" if total["accepted"] else ""
    yield (
        f"{total['accepted']:,} of {total['proposals']:,} proposals were accepted, for {tokens:,} tokens and"
        f" {total['engine_seconds']:,.0f} engine seconds{each}."
    )
    if total["money_per_1000_accepted"] is not None:
        yield f"1,000 accepted proposals cost {total['money_per_1000_accepted']:,.4g} {unit}."
    known = [
        one for one in metrics["lift_per_cost"] if one["metric"] == "ndcg" and one["per_unit"] is not None
    ]
    sure = [one for one in known if one["ci_low"] is not None and one["ci_low"] > 0]
    if sure:
        best = max(sure, key=lambda one: one["per_unit"])
        lift, low, high = (signed(100 * best[name], ".3g") for name in ("per_unit", "ci_low", "ci_high"))
        yield (
            f"Largest lift per cost whose interval lies above 0: {title(best['recommender'])},"
            f" {label(best['variant'])}, {lift} % NDCG@{best['k']} for each {unit} ({low} to {high} %)."
        )
    elif known:
        yield f"No interval of a lift in NDCG@{known[0]['k']} over all users lies above 0: no gain is shown."


def bias_sentences(sets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What the first LLM variant adds, compared with the log. These are counts, so they have no intervals."""
    one = next((one for one in sets if not one["control"]), None)
    if one is None or not one["observed"]["interactions"]:
        return
    added, observed = one["added"], one["observed"]
    more = "more" if added["popularity"] > observed["popularity"] else "not more"
    ratio, subject = added["interactions"] / observed["interactions"], one["words"]
    yield (
        f"{subject[0].upper()}{subject[1:]} adds {ratio:.2f} interactions for each observed one, of items that are"
        f" {more} popular: {added['popularity']:.1f} training interactions on average,"
        f" {observed['popularity']:.1f} in the log."
    )
    for group, words in (("items:tail", "Long-tail items"), ("users:sparse", "Sparse users")):
        yield (
            f"{words} have {_percent(added['shares'][group])} of the added interactions and"
            f" {_percent(observed['shares'][group])} of the observed ones."
        )
    for control in sets:
        lacking = {name: count for name, count in control["short"].items() if count}
        if lacking:
            parts = ", ".join(f"{name} {count:,}" for name, count in lacking.items())
            yield (
                f"The control {control['words']} has too few candidates for {sum(lacking.values()):,} of the"
                f" {control['added']['interactions'] + sum(lacking.values()):,} items that it should add ({parts})."
            )


def gate_sentence(strategy: str, gate: Mapping[str, Any]) -> str:
    """What the LLM knew of validation pairs beside the texts of the items, and whether its preferences are used."""
    name = strategy.replace("_", " ")
    used = "are in the training set" if gate["passed"] else "are left out, so its variant is the log as it is"
    few = "" if gate["pairs"] >= PAIRS else ", all that validation has"
    return (
        f"The preferences of {name} {used}: of {gate['pairs']:,} validation pairs{few}, its LLM is right in"
        f" {_percent(gate['llm'])} and the similarity of texts in {_percent(gate['text'])}, a difference of"
        f" {_points(gate['over_text'], gate['over_text_error'])}; in one blend with the texts it adds"
        f" {_points(gate['adds'], gate['adds_error'])}."
    )


def _points(difference: float, error: float) -> str:
    return f"{signed(100 * difference, '.1f')} points (standard error {100 * error:.1f})"


def label_sentences(strategy: str, one: Mapping[str, Any]) -> Iterator[str]:
    """How one strategy's answers agree with the held-out items, over all users and on the long tail."""
    name = strategy.replace("_", " ")
    for part, words in (("all", ""), ("items:tail", ", of long-tail items alone")):
        found = one["slices"].get(part, {})
        if one["kind"] == "list" and "hit" in found:
            yield (
                f"The list of {name}, {one['length']:.0f} items on average, names an item that the user took later"
                f" for {interval(found['hit'])} of {found['hit']['n']:,} users{words}; a random list would do so"
                f" for about {_percent(one['by_chance'][part])}."
            )
        if one["kind"] == "score" and "difference" in found:
            change = found["difference"]
            side = (
                "higher than"
                if change["ci_low"] > 0
                else "lower than"
                if change["ci_high"] < 0
                else "not measurably different from"
            )
            yield (
                f"Items that users took later get from {name} a confidence that is {side} that of other items{words}:"
                f" {found['held_out']['value']:.3f} and {found['others']['value']:.3f}, difference"
                f" {signed(change['ci_low'], '.3f')} to {signed(change['ci_high'], '.3f')}, {change['n']:,} users."
            )
        if one["kind"] == "pair" and "preferred" in found:
            chosen = found["preferred"]
            side = (
                "more often than by chance"
                if chosen["ci_low"] > 0.5
                else "less often than by chance"
                if chosen["ci_high"] < 0.5
                else "not measurably different from chance"
            )
            yield (
                f"If the user took one of two items later, {name} prefers this item in {interval(chosen)}"
                f" of the pairs of {chosen['n']:,} users{words}, {side}."
            )
    deciles = [decile for decile in one.get("deciles", []) if decile["taken"]]
    if len(deciles) > 1:
        size = "tenth" if len(deciles) == 10 else "part"
        shares = [
            f"{interval(one['taken'], 2)} at a mean likelihood of {_percent(one['mean'], 2)}"
            for one in (deciles[-1], deciles[0])
        ]
        yield f"Taken later: in the most likely {size} of its proposals {shares[0]}, in the least likely {shares[1]}."


def interval(figure: Mapping[str, float], digits: int = 1) -> str:
    """A share with its interval. The interval is left out if it has no width, because no user differs from another."""
    value, low, high = (_percent(figure[name], digits) for name in ("value", "ci_low", "ci_high"))
    return f"{value} ({low} to {high})" if figure["ci_low"] < figure["ci_high"] else value


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"
