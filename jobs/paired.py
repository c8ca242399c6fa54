"""What does a setting do? Several options of one recipe on the same test items, each against another, user by user.

    python -m jobs.paired beauty --to runs/texts --set dataset.path=data/beauty --set augment=[] \
        --set variants=[observed] --option "words: recommenders.itemcf.text=1" --against words \
        --option "words and sentences: recommenders.itemcf.text=1; text.encoders=[tfidf, minilm]"

It shows what a part of a method does. To choose a setting use `longtail tune`, which sees validation only.
"""

import json
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from jobs.options import AS_IT_IS, Against, Changes, Options, finished, parsed
from longtail.api.run import Run
from longtail.command.log import results, speaking
from longtail.evaluation.evaluated_runs import evaluations
from longtail.recipe import Recipe
from longtail.rounds import last_round
from longtail.search.ablation_table import SLICES, K, over_first
from longtail.workspace import Workspace


class Figure(NamedTuple):
    """A figure of an option, and its mean difference from the reference with the ends of the 95 % interval."""

    recommender: str
    variant: str
    option: str
    items: str
    metric: str
    value: float
    over: float
    low: float | None
    high: float | None


def paired(
    recipe: Annotated[str, typer.Argument(help="A recipe")],
    to: Annotated[Path, typer.Option(help="Folder for the runs, and figures.json")],
    change: Changes = None,
    option: Options = None,
    against: Against = AS_IT_IS,
) -> None:
    """Print Recall@10 and NDCG@10 of every recommender and option, on all users, long-tail items and sparse users."""
    with speaking():
        options = parsed(option, against)
        named = [(name, [*(change or []), *changes]) for name, changes in options.items()]
        runs = {f"option-{number}": changes for number, (_, changes) in enumerate(named)}
        done = dict(zip(options, finished(recipe, to, runs), strict=True))
    told = [
        figure for name, (own, ws) in done.items() for figure in figures_of(name, own, ws, *done[against])
    ]
    (to / "figures.json").write_text(json.dumps([one._asdict() for one in told], indent=1))
    table = Table("recommender", "variant", "option", "slice", "metric", "value", f"over {against!r}", "95 %")
    for one in sorted(told, key=lambda figure: (figure.metric, figure.items, figure.recommender)):
        interval = "" if one.low is None or one.high is None else f"{one.low:+.4f} to {one.high:+.4f}"
        table.add_row(*one[:5], f"{one.value:.4f}", f"{one.over:+.4f}", interval)
    results().print(table)


def figures_of(
    option: str, recipe: Recipe, ws: Workspace, base_recipe: Recipe, base: Workspace
) -> list[Figure]:
    """All figures of one option; a recommender or variant that the reference lacks is left out."""
    rows = Run(ws, recipe).metrics
    rows = rows[rows.k == K].set_index(["recommender", "variant", "slice", "metric"]).value
    data, base_data = ws / last_round(recipe).data, base / last_round(base_recipe).data
    found = []
    for name in recipe.recommenders.keys() & base_recipe.recommenders.keys():
        own, first = evaluations(name, recipe, ws), evaluations(name, base_recipe, base)
        for part in SLICES:
            moved = over_first(own, first, data, base_data, part, recipe.evaluation.bootstrap, recipe.seed)
            for (variant, metric), (over, low, high) in moved.items():
                value = float(rows[name, variant, part, metric])
                found.append(Figure(name, variant, option, part, metric, value, over, low, high))
    return found


if __name__ == "__main__":
    typer.run(paired)
