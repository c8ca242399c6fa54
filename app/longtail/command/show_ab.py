"""`longtail ab`: which arm wins, from the event log."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from longtail.ab import Rate
from longtail.command.exits import explained
from longtail.command.log import Form, results, speaking

if TYPE_CHECKING:
    from longtail.ab.comparison import Comparison

EventsArgument = Annotated[
    str,
    typer.Argument(help="Folder or URI of an event log, or of a workspace that was served, e.g. runs/demo"),
]
OfOption = Annotated[
    Rate,
    typer.Option("--of", help="What is counted: users, or recommendations.", rich_help_panel="What counts"),
]
SmallestOption = Annotated[
    float,
    typer.Option(
        "--smallest",
        help="The smallest difference that matters, relative to the baseline. It says how many users are needed.",
        min=0.001,
        max=10.0,
        rich_help_panel="What counts",
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind", help="Count only events of this kind; may be given again.", rich_help_panel="What counts"
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of words.", rich_help_panel="Output")
]


def run_ab(
    events: str, of: Rate, smallest: float, kinds: list[str] | None, as_json: bool, form: Form
) -> None:
    """Compare the arms of the latest test in the log."""
    from longtail.ab.ab_words import sentences
    from longtail.ab.attribution import find_log, outcomes
    from longtail.ab.comparison import compare_arms

    with speaking(form), explained(events):
        found = compare_arms(outcomes(find_log(events), kinds), of, smallest)
    console = results()
    if as_json:
        typer.echo(json.dumps(found.told(), indent=1))
        return
    console.print(_table(found))
    for sentence in sentences(found):
        console.print(sentence, soft_wrap=True)


def _table(found: "Comparison") -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for name in ("share", "users", "recommendations", "attributed users", "attributed rec.", "rate"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.arms:
        counts = (one.users, one.recommendations, one.successful_users, one.successful_recommendations)
        rate = "" if one.rate is None else f"{100 * one.rate:.2f} %"
        table.add_row(one.arm, f"{one.share:.0%}", *(f"{count:,}" for count in counts), rate)
    return table
