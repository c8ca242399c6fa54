"""The HTML page: `metrics.json` as sentences, plots and tables in one document."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from longtail.evaluation.slices import ENOUGH_TARGETS
from longtail.ranking_metrics import LOWEST_BASE, SAMPLED_METRICS
from longtail.registry import recommenders
from longtail.report import choice_words
from longtail.report.augmentation_page import augmentation
from longtail.report.augmentation_words import interval
from longtail.report.frontier_words import frontier
from longtail.report.glossary import GLOSSARY, words_in
from longtail.report.kind_tables import kind_tables, over_in_words
from longtail.report.llm_words import lines, sentences
from longtail.report.plots import Estimate, Group, forest, loss_curve, reliability_diagram
from longtail.report.summary import (
    ALPHA,
    SLICES,
    Comparison,
    chance,
    change,
    compare,
    evidence,
    headline,
    nearest_ten,
    signed,
    title,
)
from longtail.report.verdict import fit_words
from longtail.variants import COLOURS, CONTROLS, VARIANTS, label

BIAS = {"coverage": "all", "gini": "all", "popularity": "all", "exposure": "items:tail"}
"""The bias metrics of the page, and the slice for which each is shown."""
RERANKED_KS = (3, 5)
"""The k at which lists are judged whose items an LLM ranked again, as in Llama4Rec's tables (arXiv 2401.13870)."""


def render(metrics: Mapping[str, Any]) -> str:
    """Make the page from the content of `metrics.json` alone. Every value is escaped."""
    environment = Environment(
        loader=PackageLoader("longtail.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "number": _number,
        "seconds": _seconds,
        "difference": _difference,
        "test": _test,
        "surely": _surely,
        "thin": _thin,
        "label": label,
        "recommender": title,
        "figure": _figure,
        "lift": _per_unit,
        "over": over_in_words,
        "fusion": choice_words.fusion_in_words,
    }
    k = nearest_ten(metrics["recipe"]["evaluation"]["ks"])
    found = compare(metrics["rows"], "recall", k)
    precision = metrics.get("precision", {})
    compared = set(metrics["recipe"]["variants"]) != {"observed"}
    choice, rows = metrics["choice"], metrics["rows"]
    return environment.get_template("page.html").render(
        metrics=metrics,
        k=k,
        controls=CONTROLS,
        colours=COLOURS,
        uses_itemcf=any(VARIANTS[row["variant"]].uses_itemcf for row in rows),
        serving=sorted(
            metrics.get("serving", []),
            key=lambda one: (*_place(one["recommender"], one["variant"]), one["seed_index"]),
        ),
        compared=compared,
        pairs=max((one.pairs for one in found), default=1),
        family=sum(one.p_adjusted is not None for one in found),
        enough=ENOUGH_TARGETS,
        tested=list(SLICES),
        lowest=LOWEST_BASE,
        verdict=metrics["verdict"]["sentences"],
        words=words_in(metrics["verdict"]["sentences"]),
        glossary=GLOSSARY,
        example=_example(metrics["example"]),
        evidence=[
            headline(found, f"Recall@{k}") if compared else choice_words.headline(choice, rows, k),
            *evidence(found, precision),
            *choice_words.sentences(choice, rows, k),
            choice_words.settings_words(metrics["recipe"]),
        ],
        validation=choice_words.means(choice),
        plots=_lift_plots(found),
        by_chance=sum(_drawn(one) for one in found) / 20,
        values=_values(metrics["rows"], k),
        reranked=_reranked(rows),
        kinds=kind_tables(metrics.get("kinds", []), k),
        sampled=_sampled(metrics["rows"], k),
        bias=_bias(metrics["rows"]),
        added=augmentation(metrics),
        precision=_precision_plot(precision),
        frontier=frontier(metrics),
        llms=_llms(metrics.get("llms", {})),
        llm_sentences=sentences(metrics.get("llms", {})),
        recipe=yaml.safe_dump(metrics["recipe"], sort_keys=False, allow_unicode=True),
    )


def _example(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """One user's lists, with what each is called and whether an item of the second list is not in the first."""
    if not found:
        return None
    known = {one["title"] for one in found["before"]}
    recommender = found["recommender"]
    lists = [
        {
            "when": "Before",
            "words": fit_words((recommender, "observed")),
            "items": [one | {"new": False} for one in found["before"]],
        },
        {
            "when": "After",
            "words": fit_words((recommender, found["variant"])),
            "items": [one | {"new": one["title"] not in known} for one in found["after"]],
        },
    ]
    return dict(found) | {"lists": lists}


def _lift_plots(found: list[Comparison]) -> list[dict[str, Any]]:
    """For each slice of SLICES that has users: its name, its number of users, and the plot of changes."""
    plots = []
    for name, words in SLICES.items():
        shown = sorted((one for one in found if one.slice == name and _drawn(one)), key=_order)
        if shown:
            groups = [_group(list(members)) for _, members in groupby(shown, key=lambda one: one.recommender)]
            svg = Markup(forest(groups, tick=lambda x: signed(x, ".3g"), faint=shown[0].thin))
            plots.append({"slice": name, "words": words, "n": shown[0].n, "svg": svg})
            plots[-1] |= {"targets": shown[0].targets, "thin": shown[0].thin}
    return plots


def _drawn(one: Comparison) -> bool:
    """Whether it stands in a plot. Lists alone are the same for every recommender, so they stand in tables only."""
    return one.slice in SLICES and not VARIANTS[one.variant].alone


def _order(one: Comparison) -> tuple[int, int]:
    return _place(one.recommender, one.variant)


def _place(recommender: str, variant: str) -> tuple[int, int]:
    """The order of a fit in tables and plots."""
    return list(recommenders()).index(recommender), list(VARIANTS).index(variant)


def _group(members: list[Comparison]) -> Group:
    estimates = [
        Estimate(one.variant, one.value - one.observed, one.low, one.high, _lift(one), one.sure)
        for one in members
    ]
    return Group(members[0].name, f"{members[0].observed:.4f}", estimates)


def _lift(one: Comparison) -> str:
    return change(one.lift, one.value - one.observed, 1)


def _precision_plot(precision: Mapping[str, Mapping[str, float]]) -> Markup | None:
    known = [
        Estimate(name, found["value"], found["ci_low"], found["ci_high"], _percent(found["value"], 1))
        for name in VARIANTS
        if (found := precision.get(name))
    ]
    return Markup(forest([Group("", "", known)], tick=_percent)) if known else None


def _llms(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each tuned LLM its role, its entry in `metrics.json`, the lines of its table, and its plots."""
    return [
        {
            "role": role,
            "llm": llm,
            "lines": list(lines(llm["worth"])),
            "curve": Markup(loss_curve(**llm["curve"])) if llm["curve"] else None,
            "reliability": Markup(reliability_diagram(llm["worth"]["yes_no"]["bins"]))
            if "yes_no" in llm["worth"]
            else None,
        }
        for role, llm in found.items()
    ]


def _values(rows: list[dict[str, Any]], k: int) -> list[dict[str, Any]]:
    """Recall@k of each recommender and variant as {recommender, variant, slices: {slice: row}}."""
    return _by_fit((row["slice"], row) for row in rows if row["metric"] == "recall" and row["k"] == k)


def _sampled(rows: list[dict[str, Any]], k: int) -> list[dict[str, Any]]:
    """The metrics of sampled ranking over all users. Empty if the recipe does not ask for it."""
    return _by_fit(
        (row["metric"], row)
        for row in rows
        if row["metric"] in SAMPLED_METRICS and row["k"] == k and row["slice"] == "all"
    )


def _reranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures at RERANKED_KS of the recommenders whose items were ranked again, beside the other ways to serve.

    At the k that the page uses, a list of as many items has the same recall in whatever order.
    """
    of = {row["recommender"] for row in rows if row["variant"] == "served_ranking"}
    ways = {one.name for one in VARIANTS.values() if one.fitted_on == "observed"} | {"observed"}
    return _by_fit(
        (f"{row['metric']}@{row['k']}", row)
        for row in rows
        if row["recommender"] in of
        and row["variant"] in ways
        and row["slice"] == "all"
        and row["metric"] in ("recall", "ndcg")
        and row["k"] in RERANKED_KS
    )


def _bias(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return _by_fit((row["metric"], row) for row in rows if BIAS.get(row["metric"]) == row["slice"])


def _by_fit(cells: Iterable[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Table lines, one per recommender and variant, of (column, row) cells."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for column, row in cells:
        lines.setdefault((row["recommender"], row["variant"]), {})[column] = row
    return [
        {"recommender": recommender, "variant": variant, "cells": cells}
        for (recommender, variant), cells in sorted(lines.items(), key=lambda line: _place(*line[0]))
    ]


def _difference(row: Mapping[str, Any]) -> str:
    """The tooltip of a figure: the interval of its difference from observed, the p of the test, and what is in both."""
    if row["ci_low"] is None:
        return ""
    low, high = signed(row["ci_low"], ".4f"), signed(row["ci_high"], ".4f")
    variance = "users' variance only" if row["pairs"] == 1 else f"users and {row['pairs']} pairs"
    return f"difference {low} to {high}{chance(row['p'])}, {variance}"


def _test(found: Mapping[str, Any] | None) -> str:
    """A difference and its t."""
    if not found:
        return ""
    t = "" if found["t"] is None else f" · t {signed(found['t'], '.1f')}"
    return f"{signed(found['value'], '.4f')}{t}"


def _surely(row: Mapping[str, Any]) -> bool:
    """Whether the row is above its best rival after the correction."""
    p = row["p_adjusted"]
    return p is not None and p < ALPHA and row["over_best"]["value"] > 0


def _thin(row: Mapping[str, Any]) -> bool:
    """Whether the row's slice has too few targets."""
    return row["targets"] < ENOUGH_TARGETS


def _figure(cell: Mapping[str, float]) -> str:
    """A share, with its interval if it has one."""
    return interval(cell) if "ci_low" in cell else _percent(cell["value"], 1)


def _per_unit(lift: float | None) -> str:
    return "–" if lift is None else f"{signed(100 * lift, '.3g')} %"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
