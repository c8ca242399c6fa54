"""The `longtail` command: its arguments, and one call for each command."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from longtail import __version__
from longtail.command.compare import TableFileOption, run_compare
from longtail.command.execute import SetOption, StageFunction, WorkspaceOption, execute
from longtail.command.exits import explained
from longtail.command.export import (
    Ending,
    EndingOption,
    FolderOption,
    ManyOption,
    OverwriteOption,
    run_export,
)
from longtail.command.group import Commands
from longtail.command.init import DataArgument, RecipeFileOption, run_init
from longtail.command.log import Form, LogOption, results, speaking
from longtail.command.show_ab import EventsArgument, JsonOption, KindOption, OfOption, SmallestOption, run_ab
from longtail.command.show_ablation import VaryOption, run_ablation
from longtail.command.show_sweep import SweptOption, run_sweep
from longtail.command.show_tuning import RecommenderOption, SamplesOption, run_tuning

main = typer.Typer(
    cls=Commands,
    help="Recommendation where data is thin.",
    epilog="Start with: longtail run demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
RecipeArgument = Annotated[
    Path, typer.Argument(help="YAML file that describes the run, or the name of a shipped one, e.g. demo")
]
ReportArgument = Annotated[
    str, typer.Argument(help="Folder or URI of a run, or of one of its reports, e.g. runs/demo/reports/1")
]
ItemFileArgument = Annotated[
    str, typer.Argument(help="Parquet or CSV file of the new items, or its URI", metavar="FILE")
]
WorkspaceArgument = Annotated[str, typer.Argument(help="Folder or URI of a run, e.g. runs/demo")]
WHOLE, SEARCH, LOOK, STAGE = "From log to report", "Find better settings", "Look", "One stage at a time"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"longtail {__version__}")
        raise typer.Exit


@main.callback()
def longtail(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit."),
    ] = False,
) -> None:
    """Recommendation where data is thin."""


@main.command(rich_help_panel=WHOLE, epilog="Example: longtail init data/mine --to my.yaml")
def init(data: DataArgument, to: RecipeFileOption = None) -> None:
    """Look at raw data and write a first recipe for them, with a comment at each guess.

    The recipe runs as it is and compares recommenders without any LLM. The lines that add one are there as comments.
    """
    run_init(data, to)


@main.command(
    rich_help_panel=WHOLE, epilog="Example: longtail run my.yaml --workspace runs/mine --set judge.keep=3"
)
def run(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    form: LogOption = Form.text,
) -> None:
    """Run every stage that is not up to date, from raw logs to the report."""
    from longtail.command.result import show_result
    from longtail.stages import run

    show_result(execute([run], recipe, workspace, changes, form), recipe, workspace)


@main.command(
    rich_help_panel=WHOLE, epilog="Example: longtail serve my.yaml --workspace runs/mine --port 9000"
)
def serve(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    port: Annotated[
        int, typer.Option(help="Port of the HTTP endpoint.", rich_help_panel="What to run")
    ] = 8000,
    form: LogOption = Form.text,
) -> None:
    """Serve recommendations from a finished workspace over HTTP, until Ctrl-C."""
    from longtail.serving import serve

    execute([lambda recipe, ws: serve(recipe, ws, port=port)], recipe, workspace, changes, form)


@main.command(
    rich_help_panel=WHOLE, epilog="Example: longtail add-items my.yaml new.csv --workspace runs/mine"
)
def add_items(
    recipe: RecipeArgument,
    file: ItemFileArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    form: LogOption = Form.text,
) -> None:
    """Add new items to a workspace that is served: their texts find them users, and nothing is trained again.

    The file has the columns of the recipe's catalogue. A running server recommends the items within a minute, without a
    restart. What is served has to be an item-to-item recommender whose text is above 0. Known items stay as they are.
    """
    from longtail.serving.add_items import add_items

    execute([lambda recipe, ws: add_items(recipe, ws, file)], recipe, workspace, changes, form)


@main.command(
    rich_help_panel=WHOLE, epilog="Example: longtail export runs/mine --to out/mine --format csv --k 20"
)
def export(
    workspace: WorkspaceArgument,
    to: FolderOption,
    ending: EndingOption = Ending.parquet,
    k: ManyOption = 10,
    overwrite: OverwriteOption = False,
    form: LogOption = Form.text,
) -> None:
    """Write a finished run with the ids of your log, as Parquet or CSV.

    recommendations: what serving would answer every user. neighbours: the nearest items of every item, of each
    item-to-item recommender. log-VARIANT: the augmented log itself, each interaction with its weight and whether it was
    observed or generated, for a recommender of your own.
    """
    run_export(workspace, to, ending, k, overwrite, form)


@main.command(
    rich_help_panel=SEARCH, epilog="Example: longtail tune my.yaml --recommender swing --samples 20"
)
def tune(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: RecommenderOption = None,
    samples: SamplesOption = None,
    form: LogOption = Form.text,
) -> None:
    """Search the best settings of the recommenders on validation, and save them as a recipe."""
    run_tuning(recipe, workspace, changes, recommender, samples, form)


@main.command(rich_help_panel=SEARCH, epilog="Example: longtail sweep my.yaml --recommender swing")
def sweep(
    recipe: RecipeArgument,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    recommender: SweptOption = None,
    form: LogOption = Form.text,
) -> None:
    """Search the best judge of the generated interactions on validation, without an LLM call."""
    run_sweep(recipe, workspace, changes, recommender, form)


@main.command(
    rich_help_panel=SEARCH,
    epilog="Example: longtail ablate my.yaml --vary llm.size=1,2,4 --vary judge.weight=.1,.3,1",
)
def ablate(
    recipe: RecipeArgument,
    varied: VaryOption,
    workspace: WorkspaceOption = None,
    changes: SetOption = None,
    form: LogOption = Form.text,
) -> None:
    """Run a grid of recipes in one workspace; report a table and curves with intervals, on the test items.

    No stage and no request is made twice: what two points have in common is taken over. It shows what a part of a method
    does. To choose a setting use tune or sweep, which see validation only.
    """
    run_ablation(recipe, workspace, changes, varied, form)


@main.command(rich_help_panel=LOOK, epilog="Example: longtail status runs/demo")
def status(
    workspace: WorkspaceArgument,
    form: LogOption = Form.text,
) -> None:
    """Show what a workspace holds: every published part, how long it took, its age and its counts."""
    from longtail.command.status import status

    console = results()
    with speaking(form), explained(workspace):
        found = status(workspace, console.width)
    console.print(found)


@main.command(
    rich_help_panel=LOOK,
    epilog="Example: longtail compare runs/mine/reports/1 runs/mine --to difference.html",
)
def compare(
    first: ReportArgument,
    second: ReportArgument,
    to: TableFileOption = None,
    form: LogOption = Form.text,
) -> None:
    """Put the verdicts and the figures of two runs side by side, with their differences.

    Of one workspace too: a report that is replaced by another stays in its folder reports, as 1, 2 and so on.
    What only one of the two has is named. A terminal sees Recall and NDCG of all users and of long-tail items; --to
    writes every row of both reports.
    """
    run_compare(first, second, to, form)


@main.command(rich_help_panel=LOOK, epilog="Example: longtail ab runs/demo --kind purchase")
def ab(
    events: EventsArgument,
    of: OfOption = "users",
    smallest: SmallestOption = 0.1,
    kinds: KindOption = None,
    as_json: JsonOption = False,
    form: LogOption = Form.text,
) -> None:
    """Say which arm of an A/B test wins, from the event log, and how many users are still missing to tell.

    A recommendation is successful if an event quotes its recommendation_id and names one of its items. The baseline is the
    first arm of serving.arms. Read the verdict once, when the sample is complete.
    """
    run_ab(events, of, smallest, kinds, as_json, form)


@main.command(rich_help_panel=LOOK, epilog="Example: longtail doctor")
def doctor() -> None:
    """Check versions, hardware and engines; name the fix of each fault. Exit 1 if the main job could not run."""
    from longtail.runtime.doctor import doctor

    raise typer.Exit(doctor(results()))


def _stage(name: str, room: str, what: str) -> None:
    """Add the command of one stage. Its package is imported only when the command is called."""

    def command(
        recipe: RecipeArgument,
        workspace: WorkspaceOption = None,
        changes: SetOption = None,
        form: LogOption = Form.text,
    ) -> None:
        stage: StageFunction = getattr(import_module(f"longtail.{room}"), name.replace("-", "_"))
        execute([stage], recipe, workspace, changes, form)

    example = f"Example: longtail {name} my.yaml --workspace runs/mine"
    main.command(name, help=what, rich_help_panel=STAGE, epilog=example)(command)


_stage("prepare", "data", "Turn raw logs and a catalogue into histories, items, a split and slices.")
_stage(
    "embed", "text.embed_stage", "Make vectors of the items' texts, by each pretrained encoder of the recipe."
)
_stage(
    "finetune",
    "llm.finetune.finetune_stage",
    "Tune the generator and the discriminator under Ray Train and DeepSpeed.",
)
_stage(
    "augment",
    "augment",
    "Stream histories through the generator and the discriminator; keep every answer in the ledger.",
)
_stage(
    "fuse",
    "fusion",
    "Build the variants of the training set: observed, generated, discriminated and the controls.",
)
_stage("train", "recommenders", "Train the recommenders on every variant.")
_stage(
    "evaluate",
    "evaluation",
    "Rank the whole catalogue for every user and keep the ranks of the held-out items.",
)
_stage(
    "fit-aggregator",
    "aggregation.artefact",
    "Choose what is served, from the figures of validation and the recipe's serving. evaluate does it too, at its end.",
)
_stage(
    "refit",
    "aggregation.refit",
    "Fit what is served again on the whole log, with nothing held out. serve then prefers it.",
)
_stage("report", "report", "Write report/index.html and report/metrics.json.")
