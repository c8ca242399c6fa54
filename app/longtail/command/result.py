"""The summary at the end of a run: the data, the cost, the page of the report, what to do next, and the verdict."""

import shlex
from pathlib import Path
from typing import Any

from rich.style import Style
from rich.text import Text

from longtail.command.log import results
from longtail.progress import duration
from longtail.registry import recommenders
from longtail.workspace import Workspace
from longtail.workspace.place import Place


def show_result(ws: Workspace, recipe: Path, workspace: str | None) -> None:
    """Print the summary of a finished run. `recipe` and `workspace` are as they were given to the command."""
    metrics = (ws / "report/metrics.json").read_json()
    console = results()
    rows = [("For", whom(metrics)), ("Cost", cost(metrics)), ("Page", _link(ws / "report/index.html"))]
    rows += [("Next", line) for line in following(metrics, recipe, workspace)]
    rows += [("Found", line) for line in metrics["verdict"]["sentences"]]
    said = ""
    for name, line in rows:
        console.print(
            Text(f"{'' if name == said else name:6}", style="bold") + Text.assemble(line), soft_wrap=True
        )
        said = name


def whom(metrics: dict[str, Any]) -> str:
    """The number of users, items and interactions in the log, and how many are sparse or long-tail."""
    data, slices = metrics["dataset"], metrics["dataset"]["slices"]
    return (
        f"{data['users']:,} users, {slices['users']['sparse']:,} of them sparse; {data['items']:,} items, "
        f"{slices['items']['tail']:,} of them long-tail; {data['interactions']:,} interactions."
    )


def cost(metrics: dict[str, Any]) -> str:
    """The time of each stage, with its parts added up; and requests, tokens and money if an LLM was asked."""
    stages = {name: stage["seconds"] for name, stage in metrics["stages"].items()}
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages.items())
    line = f"{duration(sum(stages.values()))}: {parts}"
    spent = metrics["cost"]
    if spent["requests"]:
        tokens = spent["prompt_tokens"] + spent["output_tokens"] + spent["judge_tokens"]
        line += f"; {spent['requests']:,} requests, {tokens:,} tokens"
    if (money := metrics["spent"]["money"]) >= 0.01:
        line += f"; about {money:.2f} {metrics['recipe']['prices']['currency']}"
    return line + "."


def _link(page: Place) -> str | tuple[str, Style]:
    """A local page can be clicked in a terminal."""
    return (page.path, Style(link=Path(page.path).as_uri())) if page.is_local else page.uri


def following(metrics: dict[str, Any], recipe: Path, workspace: str | None) -> list[str]:
    """The commands to run next, ready to paste."""
    where = shlex.quote(str(recipe)) + (f" --workspace {shlex.quote(workspace)}" if workspace else "")
    lines = [f"longtail serve {where}{_as_advised(metrics)}     (recommendations over HTTP)"]
    lines = lines if metrics["choice"]["served"] else []
    variants = metrics["recipe"]["variants"]
    chosen = metrics["recipe"]["recommenders"]
    name = next((one for one in recommenders() if one != "popularity" and chosen.get(one) is not None), None)
    if "discriminated" in variants and name:
        lines.append(f"longtail sweep {where} --recommender {name}     (the best judge, without an LLM call)")
    if name:
        lines.append(f"longtail tune {where} --recommender {name}     (its best settings)")
    return lines


def _as_advised(metrics: dict[str, Any]) -> str:
    """The options that serve what the verdict advises, if validation or the recipe would serve something else."""
    served, advised = metrics["choice"]["served"], metrics["verdict"]["serve"]
    if not served or not advised or _same(served, advised):
        return ""
    named = {"recommender": advised["recommender"], "variant": advised["trained_on"], "list": advised["list"]}
    return "".join(f" --set serving.{name}={value}" for name, value in named.items())


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("recommender", "variant"))
