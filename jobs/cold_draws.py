"""Are items found that nobody took? Several draws of cold items, several settings on each, and t over the draws.

    python -m jobs.cold_draws beauty --to runs/cold --set dataset.path=data/beauty --set augment=[] \
        --option "words: recommenders.itemcf.text=1" \
        --option "words and sentences: recommenders.itemcf.text=1; text.encoders=[tfidf, minilm]"

Another draw of the users says nothing of another draw of the items. So the draws are what is counted here: a difference is
sure if it is there in (nearly) every draw.
"""

import json
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import typer
from rich.table import Table

from jobs.options import AS_IT_IS, Against, Changes, Options, finished, parsed
from longtail.api.run import Run
from longtail.command.log import results, speaking
from longtail.data.catalogue import COLD
from longtail.evaluation.cold_frontier import read_cold
from longtail.evaluation.targets import read_targets, split_parts
from longtail.ranking_metrics import METRICS as NAMES
from longtail.ranking_metrics import per_user
from longtail.recipe import Recipe
from longtail.recommenders import load
from longtail.recommenders.recommender import Recommender
from longtail.rounds import last_round
from longtail.workspace import Workspace
from longtail.workspace.place import Place

METRICS = (("recall", 10), ("recall", 50), ("ndcg", 10))
WARM, AMONG = "warm", "cold among cold"
WARM_SLICES = ("items:head", "items:mid", "items:tail")


class Figure(NamedTuple):
    """A mean over draws, and the mean difference from the reference with its t (degrees of freedom: draws - 1)."""

    recommender: str
    option: str
    items: str
    metric: str
    value: float
    over: float
    t: float


def cold_draws(
    recipe: Annotated[str, typer.Argument(help="A recipe; its split becomes `cold`")],
    to: Annotated[Path, typer.Option(help="Folder for the runs, and figures.json")],
    draws: Annotated[int, typer.Option(min=2, help="How often the cold items are drawn")] = 6,
    change: Changes = None,
    option: Options = None,
    against: Against = AS_IT_IS,
) -> None:
    """Print for each recommender and option how well cold and warm items are found."""
    with speaking():
        options = parsed(option, against)
        drawn = [*(change or []), "dataset.split=cold", "evaluation.ks=[10, 50]"]
        keys = [(draw, name) for draw in range(draws) for name in options]
        runs = {
            f"draw-{draw}-option-{list(options).index(name)}": [*drawn, *options[name], f"seed={draw}"]
            for draw, name in keys
        }
        done = zip(keys, finished(recipe, to, runs), strict=True)
        found = {key: figures_of(Run(ws, own).metrics) | among_cold(own, ws) for key, (own, ws) in done}
    told = compared(found, against)
    (to / "figures.json").write_text(json.dumps([one._asdict() for one in told], indent=1))
    table = Table("recommender", "option", "items", "metric", "mean", f"over {against!r}", "t")
    for one in told:
        table.add_row(*one[:4], f"{one.value:.4f}", f"{one.over:+.4f}", f"{one.t:.1f}")
    results().print(table)


def figures_of(metrics: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """By recommender, kind of item and metric, the mean over users with a test item of that kind, of recommenders that were
    fitted on the observed log. Of the slices of warm items, which share no target, it is the mean by their users.
    """
    rows = metrics[metrics.variant == "observed"]
    found = {}
    for recommender, own in rows.groupby("recommender"):
        for metric, k in METRICS:
            values = own[(own.metric == metric) & (own.k == k)].set_index("slice")
            warm = values.loc[[name for name in WARM_SLICES if name in values.index]]
            if warm.n.sum():
                found[recommender, WARM, f"{metric}@{k}"] = float((warm.value * warm.n).sum() / warm.n.sum())
            if "items:cold" in values.index:
                found[recommender, COLD, f"{metric}@{k}"] = float(values.loc["items:cold"].value)
    return found


def among_cold(recipe: Recipe, ws: Workspace) -> dict[tuple[str, str, str], float]:
    """By recommender and metric, how well the cold test items are ranked if cold items are all that is ranked. Here the
    share of places that they take does not matter.
    """
    round_ = last_round(recipe)
    found = {}
    for recommender in recipe.recommenders:
        model = load(ws / round_.at(f"recommenders/observed/{recommender}-0"))
        users, ranks = cold_ranks(model, ws / round_.data)
        values = per_user(users, ranks, [k for _, k in METRICS])[1].mean(axis=0)
        for place, (metric, k) in enumerate(METRICS):
            found[recommender, AMONG, f"{metric}@{k}"] = float(values[NAMES.index(metric), place])
    return found


def cold_ranks(model: Recommender, data: Place) -> tuple[np.ndarray, np.ndarray]:
    """The users and the 1-based ranks among all cold items of their cold test items, 0 if an item is not ranked: int [n].

    An item with the same score as the target stands before it.
    """
    cold = np.flatnonzero(read_cold(data))
    told: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for part in split_parts(data):
        for users, rows, targets in read_targets(part, "test"):
            of_cold = np.isin(targets, cold)
            scores = model.score_pairs(model.seen.take(users), users, np.tile(cold, (len(users), 1)))
            own = scores[rows[of_cold]]
            wanted = own[np.arange(len(own)), np.searchsorted(cold, targets[of_cold])]
            ranks = np.where(np.isfinite(wanted), (own >= wanted[:, None]).sum(axis=1), 0)
            told.append((users[rows[of_cold]], ranks))
    return np.concatenate([one for one, _ in told]), np.concatenate([one for _, one in told])


def compared(found: dict[tuple[int, str], dict[tuple[str, str, str], float]], against: str) -> list[Figure]:
    """From the figures of every draw and option to their means, and t over the draws against one option."""
    draws = sorted({draw for draw, _ in found})
    told = []
    for key in found[draws[0], against]:
        for option in dict.fromkeys(option for _, option in found):
            values = np.array([found[draw, option].get(key, np.nan) for draw in draws])
            over = values - [found[draw, against][key] for draw in draws]
            spread = over.std(ddof=1)
            t = float(over.mean() / (spread / len(draws) ** 0.5)) if spread > 0 else 0.0
            told.append(Figure(key[0], option, key[1], key[2], float(values.mean()), float(over.mean()), t))
    return told


if __name__ == "__main__":
    typer.run(cold_draws)
