"""Tables of the page on the kinds of fusion: one for each recommender and served variant."""

from collections.abc import Mapping, Sequence
from typing import Any

from longtail.report.summary import signed

METRIC = "ndcg"
ALONE = {"recommender": "recommender alone", "list": "list alone"}
"""What the parts are called. A kind has its own name."""


def kind_tables(rows: Sequence[Mapping[str, Any]], k: int) -> list[dict[str, Any]]:
    """The tables of `kinds` of metrics.json: recommender, variant, the names of slices, and a line for each kind.

    A cell has its row, and whether it is above the better one of the two parts.
    """
    shown = [row for row in rows if (row["metric"], row["k"]) == (METRIC, k)]
    tables: dict[tuple[str, str], dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in shown:
        table = tables.setdefault((row["recommender"], row["variant"]), {})
        table.setdefault(row["kind"], {})[row["slice"]] = row
    return [
        {
            "recommender": recommender,
            "variant": variant,
            "slices": [name.replace(":", " ") for name in next(iter(table.values()))],
            "lines": [
                {
                    "kind": ALONE.get(kind, kind),
                    "cells": [{"row": row, "above": _above(row)} for row in of_slices.values()],
                }
                for kind, of_slices in table.items()
            ],
        }
        for (recommender, variant), table in tables.items()
    ]


def _above(row: Mapping[str, Any]) -> bool:
    """Whether a kind is above the better part: the interval of the difference lies above 0."""
    if row["kind"] in ALONE:
        return False
    low = row["over"][row["better"]]["ci_low"]
    return low is not None and low > 0


def over_in_words(row: Mapping[str, Any]) -> str:
    """The differences of a row, with their intervals."""
    return "; ".join(_difference(base, one) for base, one in row["over"].items())


def _difference(base: str, one: Mapping[str, Any]) -> str:
    words = f"over {ALONE.get(base, base)} {signed(one['value'], '.4f')}"
    if one["ci_low"] is None:
        return words
    t = "" if one["t"] is None else f", t {signed(one['t'], '.1f')}"
    return f"{words} ({signed(one['ci_low'], '.4f')} to {signed(one['ci_high'], '.4f')}{t})"
