"""Write a first recipe for raw data: what the data seem to be, and a run that compares recommenders without any LLM."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from longtail.command.exits import explained
from longtail.command.log import results, speaking
from longtail.errors import InputError

DataArgument = Annotated[
    str,
    typer.Argument(
        help="File, folder or URI: Parquet, CSV, TSV, RecBole, MovieLens, LightGCN or SASRec files."
    ),
]
RecipeFileOption = Annotated[
    Path | None,
    typer.Option(
        "--to",
        help="The recipe to write; a file that is there is left alone.",
        show_default="NAME.yaml, the name of the data",
        rich_help_panel="Output",
    ),
]
ORDER = [
    "source",
    "path",
    "interactions",
    "test",
    "items",
    "delimiter",
    "encoding",
    "columns",
    "time_unit",
    "split",
]
RUN = """
variants: [observed]  # compares recommenders, without any LLM: a first look
recommenders:  # those that are named are fitted; all their settings: app/longtail/recipe
  popularity: {}
  itemcf: {}
  bm25: {}
  swing: {max_users: 500}  # a sample of so many users per item: one that everybody took costs their number squared
  bpr: {epochs: 50}
"""
LLM = """
# With an LLM that writes what the log lacks, and a second one that judges it: put these lines, without their first
# sign, in the place of `variants` above. `small` is a Llama trained from scratch on your log; a Hugging Face id may
# stand there instead.
# variants: [observed, generated, discriminated, popular, itemcf]
# llm: {base: small, items: token}
# augment:
#   - {strategy: next_item, proposals: 10}
# judge: {keep: 5, weight: 0.3}
"""


def run_init(data: str, to: Path | None) -> None:
    """Guess, write the recipe, and say what was guessed and why."""
    with speaking(), explained(data):
        found, path = init(data, to)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=f"{data} seems to be", title_justify="left")
    for name in ("setting", "value", "why"):
        table.add_column(name, overflow="fold")
    for key, value, why in found:
        table.add_row(key, Text(value), Text(why))
    console = results()
    console.print(table)
    console.print(f"Written: {path}. Check it, then: longtail run {path}", soft_wrap=True)


def init(data: str, to: Path | None = None) -> tuple[list[tuple[str, str, str]], Path]:
    """Write the recipe; answers (setting of dataset, value, why) of each guess, and the file.

    The data are opened and their first rows read as a run would. Raises InputError if nothing can be guessed, if these
    rows cannot be read, or if the file is there already.
    """
    from longtail.data.guessing import guess_dataset
    from longtail.data.source_kinds import open_source
    from longtail.recipe import Recipe

    name = _name(data)
    path = to or Path(f"{name}.yaml")
    if path.exists():
        raise InputError(f"{path} is there already, and is left alone. Give another name: --to FILE.")
    guess = guess_dataset(data)
    source = open_source(Recipe(name=name, dataset=guess.dataset))
    next(iter(source.read(source.pieces[0])), None)
    source.catalogue()
    if not path.parent.exists():
        raise InputError(
            f"{path}: there is no folder {path.parent}. Make it, or give another name: --to FILE."
        )
    path.write_text(recipe_text(name, data, guess.values, guess.reasons), encoding="utf-8")
    return [
        (key, _written(value), guess.reasons.get(key, "")) for key, value in _in_order(guess.values)
    ], path


def recipe_text(name: str, data: str, values: dict[str, Any], reasons: dict[str, str]) -> str:
    """The recipe as YAML; what stands behind a # is why."""
    lines = [f"# Written by `longtail init {data}`: after each # stands why. Check it, and run it:"]
    lines += ["#   longtail run THIS_FILE", f"name: {_written(name)}", "dataset:"]
    section = ""
    for key, value in _in_order(values):
        parent, _, last = key.rpartition(".")
        if parent != section and parent:
            lines.append(f"  {parent}:")
        section = parent
        why = f"  # {reasons[key]}" if key in reasons else ""
        lines.append(f"{'    ' if parent else '  '}{last}: {_written(value)}{why}")
    if "columns.rating" in values:
        lines.append(
            "  # min_rating: 4  # interactions rated lower are no positives: they would be dropped, counted"
        )
    lines.append("  # k_core: 5  # keep only users and items with so many of each other")
    return "\n".join(lines) + "\n" + RUN.lstrip("\n") + LLM.rstrip("\n") + "\n"


def _in_order(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Settings as they stand in a recipe: the files, then the columns, then how the log is split."""
    return sorted(values.items(), key=lambda one: ORDER.index(one[0].partition(".")[0]))


def _written(value: Any) -> str:
    """A value as YAML in one line."""
    if value == "\t":
        return "tab"
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
        .removesuffix("...\n")
        .strip()
    )


def _name(data: str) -> str:
    """What a recipe may be called, from the last step of a path."""
    last = Path(data.rstrip("/")).name or "mine"
    stem = re.sub(r"(\.(csv|tsv|parquet|inter|txt|data|dat|gz|bz2|lz4|zst))+$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "mine"
