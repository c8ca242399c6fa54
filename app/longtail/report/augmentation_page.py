"""The page's three sections about an augmentation: its bias, its agreement with the held-out items, and its cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from longtail.evaluation.categories import NONE, OTHERS
from longtail.evaluation.slices import ITEM_SLICES
from longtail.registry import recommenders
from longtail.report.augmentation_words import (
    bias_sentences,
    cost_sentences,
    gate_sentence,
    label_sentences,
    unit_of,
)
from longtail.report.plots import share_bars
from longtail.report.summary import judged, title
from longtail.variants import CONTROLS, VARIANTS, label

COSTS = {
    "requests": "requests",
    "failed_requests": "failed requests",
    "questions": "questions",
    "judge_questions": "questions to the judge",
    "prompt_tokens": "prompt tokens",
    "output_tokens": "written tokens",
    "judge_tokens": "tokens of the judge",
    "engine_seconds": "engine seconds",
    "wall_seconds": "wall seconds",
    "proposals": "proposals",
    "accepted": "accepted",
    "requests_per_accepted": "requests per accepted",
    "questions_per_accepted": "questions per accepted",
    "tokens_per_accepted": "tokens per accepted",
    "engine_seconds_per_accepted": "engine seconds per accepted",
    "wall_seconds_per_accepted": "wall seconds per accepted",
}
PRICED = {"money": "price, {}", "money_per_1000_accepted": "price of 1,000 accepted, {}"}
KINDS = {
    "list": {"hit": "list names a later item", "by_chance": "random list"},
    "score": {"held_out": "later items", "others": "other items", "difference": "difference"},
    "pair": {"preferred": "later item preferred", "undecided": "other pairs undecided"},
}
"""For each kind of answers, the figures of its table."""


def augmentation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the template `augmentation.html` shows, from the content of `metrics.json`."""
    sets = list(_gains(metrics["training_sets"]))
    return {
        "costs": _cost_lines(metrics),
        "cost_sentences": list(cost_sentences(metrics)),
        "unit": unit_of(metrics),
        "lifts": _lifts(metrics["lift_per_cost"]),
        "sets": sets,
        "set_sentences": list(bias_sentences(sets)),
        "shares": _share_plot(sets),
        "categories": _categories(metrics, sets),
        "exposed": _exposed(metrics),
        "labels": [
            {"name": name.replace("_", " "), "kind": KINDS[one["kind"]], "lines": _label_lines(one)}
            | {"deciles": one.get("deciles", [])}
            for name, one in metrics["labels"].items()
        ],
        "label_sentences": [
            *(gate_sentence(name, one) for name, one in metrics.get("gates", {}).items()),
            *(sentence for name, one in metrics["labels"].items() for sentence in label_sentences(name, one)),
        ],
    }


def _cost_lines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = dict(COSTS)
    if metrics["cost"]["money"] is not None:
        names |= {name: words.format(unit_of(metrics)) for name, words in PRICED.items()}
    strategies = metrics["strategies"].values()
    return [{"words": words, "values": [one[name] for one in strategies]} for name, words in names.items()]


def _lifts(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Table lines, one per recommender and variant, with a cell for each metric."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        lines.setdefault((one["recommender"], one["variant"]), {})[one["metric"]] = one
    order = sorted(lines, key=lambda fit: (list(recommenders()).index(fit[0]), list(VARIANTS).index(fit[1])))
    return [{"recommender": fit[0], "variant": fit[1], "cells": lines[fit]} for fit in order]


def _gains(training_sets: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The training sets to which something was added, in the order of variants, and what was added."""
    for name in sorted(training_sets, key=lambda name: (list(VARIANTS).index(_variant(name)), name)):
        parts = training_sets[name]["parts"]
        added = parts["added"] if parts["added"]["interactions"] else parts.get("preferred", {})
        if added.get("interactions"):
            variant, _, recommender = name.partition("-")
            words = label(variant) + (f", for {title(recommender)}" if recommender else "")
            yield {"words": words, "variant": variant, "observed": parts["observed"], "added": added} | {
                "after": parts["after"],
                "reached": training_sets[name]["reached"],
                "control": variant in CONTROLS,
                "short": training_sets[name].get("short", {}),
            }


def _variant(name: str) -> str:
    """The variant of a training set: `discriminated-swing` is the variant `discriminated` with Swing's own judge."""
    return name.partition("-")[0]


def _share_plot(sets: Sequence[Mapping[str, Any]]) -> Markup | None:
    """The shares of the item slices: first in the log, then in what each training set adds."""
    if not sets:
        return None
    parts = [("observed", sets[0]["observed"]), *((one["words"], one["added"]) for one in sets)]
    groups = [f"items:{name}" for name in ITEM_SLICES]
    rows = [(words, [part["shares"].get(group, 0.0) for group in groups]) for words, part in parts]
    return Markup(share_bars(rows, ITEM_SLICES))


def _category(name: str) -> str:
    return {OTHERS: "all others", NONE: "none stated"}.get(name, name.removeprefix("category:"))


def _categories(metrics: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The share of each category in the log and in what each training set adds. Empty without categories."""
    if metrics["category"] is None or not sets:
        return []
    parts = [sets[0]["observed"], *(one["added"] for one in sets)]
    names = [name for name in parts[0]["shares"] if name.startswith("categor")]
    return [{"words": _category(name), "values": [part["shares"][name] for part in parts]} for name in names]


def _exposed(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The share of all places that each category takes, by recommender: for the observed log and for the judged
    variant.
    """
    rows = [
        row for row in metrics["rows"] if row["metric"] == "exposure" and row["slice"].startswith("categor")
    ]
    variant = judged({row["variant"] for row in rows})
    if variant is None:
        return None
    values = {(row["recommender"], row["variant"], row["slice"]): row["value"] for row in rows}
    names = [name for name in recommenders() if any(key[:2] == (name, variant) for key in values)]
    lines = [
        {
            "words": _category(group),
            "values": [(values[name, "observed", group], values[name, variant, group]) for name in names],
        }
        for group in dict.fromkeys(row["slice"] for row in rows)
    ]
    return {"variant": variant, "recommenders": [title(name) for name in names], "lines": lines}


def _label_lines(one: Mapping[str, Any]) -> list[dict[str, Any]]:
    chances = one.get("by_chance", {})
    return [
        {
            "slice": name,
            "n": max(figure["n"] for figure in figures.values()),
            "cells": figures | ({"by_chance": {"value": chances[name]}} if name in chances else {}),
        }
        for name, figures in one["slices"].items()
    ]
