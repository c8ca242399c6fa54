"""What are an LLM's preferences worth, and do they pass the gate? Several ways of asking, in one table.

    python -m jobs.gates my.yaml --to runs/gates --option "pmi: augment=[{strategy: pairs, ask: pmi}]" \
        --option "four shots: augment=[{strategy: pairs, shots: 4}]"

The recipe has a strategy that asks for preferences (`pairs`, `cold_pairs`). It runs as far as its gates: nobody but the
pairs of the gate is asked, and nothing is trained but the LLM.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from jobs.options import Changes, Options, finished, parsed
from longtail.augment.gate import gate
from longtail.augment.ledger import find_ledger
from longtail.command.log import results, speaking
from longtail.data import prepare
from longtail.errors import InputError
from longtail.llm.finetune.finetune_stage import finetune
from longtail.recipe import Recipe
from longtail.registry import strategy_spec
from longtail.rounds import FIRST_ROUND
from longtail.text.embed_stage import embed
from longtail.workspace import Workspace

COLUMNS = ("pairs", "answered", "llm", "text", "over_text", "over_text_error", "adds", "adds_error", "passed")
COSTS = ("prompt_tokens", "seconds")


def gates(
    recipe: Annotated[str, typer.Argument(help="A recipe with a strategy that asks for preferences")],
    to: Annotated[Path, typer.Option(help="Folder for the runs, and figures.json")],
    change: Changes = None,
    option: Options = None,
) -> None:
    """Print for each option what the LLM and the texts know of validation pairs, and whether the gate opens."""
    with speaking():
        options = parsed(option)
        runs = {
            f"option-{number}": [*(change or []), *changes] for number, changes in enumerate(options.values())
        }
        done = zip(options, finished(recipe, to, runs, as_far_as_gates), strict=True)
        told = [
            {"option": name, "strategy": strategy} | measured(own, ws, strategy)
            for name, (own, ws) in done
            for strategy in preferring(own)
        ]
    (to / "figures.json").write_text(json.dumps(told, indent=1))
    table = Table("option", "strategy", *COLUMNS, *COSTS)
    for one in told:
        figures = (one[name] for name in COLUMNS)
        shown = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in figures]
        table.add_row(one["option"], one["strategy"], *shown, *(f"{one[name]:,.0f}" for name in COSTS))
    results().print(table)


def as_far_as_gates(recipe: Recipe, ws: Workspace) -> None:
    """Prepare, embed, tune the LLM and measure each gate. Raises InputError if nothing asks for preferences."""
    if not preferring(recipe):
        raise InputError("augment: no strategy asks for preferences. Add one: {strategy: pairs}.")
    find_ledger(recipe, ws)
    for stage in (prepare, embed, finetune):
        stage(recipe, ws)
    for strategy in preferring(recipe):
        measured(recipe, ws, strategy)


def preferring(recipe: Recipe) -> list[str]:
    """The strategies that ask for preferences and have not switched their gate off."""
    return [name for name, one in recipe.strategies.items() if strategy_spec(name).preferring and one.gate]


def measured(recipe: Recipe, ws: Workspace, strategy: str) -> dict[str, float]:
    """The counts of a gate, which is measured if it is not up to date."""
    return gate(FIRST_ROUND.seeded(recipe), ws, FIRST_ROUND, recipe.strategies[strategy]).counts


if __name__ == "__main__":
    typer.run(gates)
