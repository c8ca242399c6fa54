"""The summary at the end of a run: the result, the data, the cost, the page of the report, and what to do next."""

import shlex
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text

from longtail.command.log import results
from longtail.progress import duration
from longtail.registry import recommenders
from longtail.report import choice_words
from longtail.report.summary import compare, headline, nearest_ten, signed
from longtail.variants import label
from longtail.workspace import Workspace
from longtail.workspace.place import Place

METRIC = "recall"


def show_result(ws: Workspace, recipe: Path, workspace: str | None) -> None:
    """Print the summary of a finished run. `recipe` and `workspace` are as they were given to the command."""
    metrics = (ws / "report/metrics.json").read_json()
    console = results()
    rows = [("Found", line) for line in found(metrics)]
    rows += [("For", whom(metrics)), ("Cost", cost(metrics))]
    rows.append(("Page", _link(ws / "report/index.html")))
    rows += [("Next", line) for line in following(metrics, recipe, workspace)]
    said = ""
    for name, line in rows:
        console.print(
            Text(f"{'' if name == said else name:6}", style="bold") + Text.assemble(line), soft_wrap=True
        )
        said = name


def found(metrics: dict[str, Any]) -> list[str]:
    """The report's headline, the largest difference from the best rival on long-tail items with its effect on all users,
    and what is served.
    """
    k = nearest_ten(metrics["recipe"]["evaluation"]["ks"])
    comparisons = compare(metrics["rows"], METRIC, k)
    tried = [one for one in comparisons if one.over_best]
    chosen = metrics["choice"], metrics["rows"], k
    served = choice_words.sentences(*chosen)
    if not tried:
        return [choice_words.headline(*chosen), *served]
    name = f"{METRIC.capitalize()}@{k}"
    lines = [headline(comparisons, name)]
    tail = [one for one in tried if one.slice == "items:tail" and not one.thin]
    if not tail:
        return lines + served
    top = max(tail, key=lambda one: one.over_best["value"])
    over = top.over_best
    lines.append(
        f"Best on long-tail items, of {len(tail)} compared: {top.name}, {label(top.variant)}: {name} {top.value:.4f}, "
        f"{_interval(over['value'], over['ci_low'], over['ci_high'])} over {label(over['base'])}, the best without it; "
        f"{'sure' if top.sure else 'not sure'} after correction; {top.n:,} users."
    )
    for one in tried:
        if (one.recommender, one.variant, one.slice) == (top.recommender, top.variant, "all"):
            change = _interval(one.value - one.observed, one.low, one.high)
            lines.append(f"The same for all users: {one.value:.4f}, {change} over observed; {one.n:,} users.")
    return lines + served


def whom(metrics: dict[str, Any]) -> str:
    """The number of users, items and interactions in the log, and how many are sparse or long-tail."""
    data, slices = metrics["dataset"], metrics["dataset"]["slices"]
    return (
        f"{data['users']:,} users, {slices['users']['sparse']:,} of them sparse; {data['items']:,} items, "
        f"{slices['items']['tail']:,} of them long-tail; {data['interactions']:,} interactions."
    )


def _interval(value: float, low: float, high: float) -> str:
    return f"{signed(value, '.4f')} ({signed(low, '.4f')} to {signed(high, '.4f')}, 95 %)"


def cost(metrics: dict[str, Any]) -> str:
    """The time of each stage, with its parts added up; and requests, tokens and money if an LLM was asked."""
    stages = {name: stage["seconds"] for name, stage in metrics["stages"].items()}
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages.items())
    line = f"{duration(sum(stages.values()))}: {parts}"
    spent = metrics["cost"]
    if spent["requests"]:
        tokens = spent["prompt_tokens"] + spent["output_tokens"] + spent["judge_tokens"]
        line += f"; {spent['requests']:,} requests, {tokens:,} tokens"
    if spent["money"] is not None:
        line += f", {spent['money']:.2f} {metrics['recipe']['prices']['currency']}"
    return line + "."


def _link(page: Place) -> str | tuple[str, Style]:
    """A local page can be clicked in a terminal."""
    return (page.path, Style(link=Path(page.path).as_uri())) if page.is_local else page.uri


def following(metrics: dict[str, Any], recipe: Path, workspace: str | None) -> list[str]:
    """The commands to run next, ready to paste."""
    where = shlex.quote(str(recipe)) + (f" --workspace {shlex.quote(workspace)}" if workspace else "")
    served = metrics["choice"]["served"]
    lines = [f"longtail serve {where}     (recommendations over HTTP)"] if served else []
    variants = metrics["recipe"]["variants"]
    chosen = metrics["recipe"]["recommenders"]
    name = next((one for one in recommenders() if one != "popularity" and chosen.get(one) is not None), None)
    if "discriminated" in variants and name:
        lines.append(f"longtail sweep {where} --recommender {name}     (the best judge, without an LLM call)")
    if name:
        lines.append(f"longtail tune {where} --recommender {name}     (its best settings)")
    return lines
