"""What cold items cost, in the report: a plot of all recommenders, and sentences about the recipe's share of places."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from longtail.evaluation.cold_frontier import KS
from longtail.report.plots import frontiers


def frontier(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """The plot and the sentences; None if no cold item was held out, or none is ranked."""
    found = metrics.get("cold_frontier")
    if not found:
        return None
    shares = {name: metrics["recipe"]["recommenders"][name]["cold_share"] for name in found}
    return {"plot": Markup(frontier_plot(found, shares)), "sentences": frontier_sentences(found, shares)}


def frontier_plot(found: Mapping[str, list[dict[str, Any]]], shares: Mapping[str, float]) -> str:
    """shares: that of the recipe for each recommender, whose point is filled."""
    lines = {
        name: [(one["warm"][0], one["cold"][1], one["share"] == shares[name]) for one in points]
        for name, points in found.items()
    }
    return frontiers(lines, f"Recall@{KS[0]} of warm items", f"Recall@{KS[1]} of cold items")


def frontier_sentences(found: Mapping[str, list[dict[str, Any]]], shares: Mapping[str, float]) -> list[str]:
    """What the recipe's share gives and costs, over no cold items at all."""
    said = []
    for name, points in found.items():
        none, own = points[0], next(one for one in points if one["share"] == shares[name])
        said.append(
            f"{name}: cold items in {own['taken']:.1%} of the first ten places raise their Recall@{KS[1]} from"
            f" {none['cold'][1]:.4f} to {own['cold'][1]:.4f}, and move Recall@{KS[0]} of warm items from"
            f" {none['warm'][0]:.4f} to {own['warm'][0]:.4f}."
        )
    return said
