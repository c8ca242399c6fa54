"""What a whole run cost: the time of each stage, of tuning and searching too, and its price by the hour."""

from collections import Counter
from typing import Any

from longtail.recipe import Prices
from longtail.workspace import STAGES, stage_of

PARTS = {
    "finetune": "tuning the LLM",
    "augment": "asking the LLM",
    "tune": "searching settings",
    "sweep": "searching settings",
}
"""The parts of a run that are told by name. All other stages are the rest."""


def stage_seconds(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """The seconds and the number of published units of each stage before the report, in the order of a run.

    The seconds of units are added up, also if they ran in parallel.
    """
    seconds, units = Counter(), Counter()
    for place, manifest in manifests.items():
        stage = stage_of(place)
        seconds[stage] += manifest["seconds"]
        units[stage] += 1
    ran = [stage for stage in dict.fromkeys(STAGES.values()) if units[stage] and stage != "report"]
    return {stage: {"seconds": round(seconds[stage], 3), "units": units[stage]} for stage in ran}


def run_cost(
    stages: dict[str, dict[str, float | int]], prices: Prices, asked: float | None
) -> dict[str, Any]:
    """The cost of a run with these `stage_seconds`: `seconds`, `parts` (seconds by what was done), and `money`.

    money: all seconds at the price of an hour, and what the LLM's answers cost beside it (`asked`), if they have a price
    of their own.
    """
    parts: dict[str, float] = {}
    for stage, one in stages.items():
        if stage in PARTS:
            parts[PARTS[stage]] = parts.get(PARTS[stage], 0.0) + one["seconds"]
    seconds = sum(one["seconds"] for one in stages.values())
    money = prices.hour * seconds / 3600 + (asked or 0.0)
    return {"seconds": round(seconds, 3), "parts": parts, "money": money, "asked": asked}
