"""The stage `evaluate`: the ranks of every published recommender on the test.

The users of one run are split over Ray tasks, each of which writes its own file of ranks and answers sums; the run is
published when all are there. The driver holds the sums of one run, whose size is the catalogue's.
"""

from functools import partial
from typing import Any

from app.cluster import connect, side_by_side
from app.errors import InputError
from app.evaluation.bias import EXPOSURE_K
from app.evaluation.ranking import Protocol, Ranked, catalogue_size, check_catalogue, rank_part
from app.evaluation.targets import Part, split_parts
from app.recipe import Recipe
from app.recommenders.ranker import Ranker
from app.recommenders.runs import runs
from app.workspace import Place, Stage, Workspace

TASKS_AT_ONCE = 64
"""Tasks of one run that wait or work: enough for a large cluster, and what they answer stays small."""


def evaluate(recipe: Recipe, ws: Workspace) -> None:
    """Write `evaluation/<variant>/<recommender>-<seed>/` for every run of the recipe.

    What is written allows any metric up to the largest k, so a recipe that only changes smaller ks ranks
    nothing again. The protocol is that of `app.evaluation.ranking`. Raises InputError where a recommender is
    not trained yet, or was on another catalogue.
    """
    protocol = _protocol(recipe)
    settings = ranking_settings(recipe)
    units = [
        (ws / run.place, ws.stage(run.evaluation, settings, [ws / "data", ws / run.place]))
        for run in runs(recipe)
    ]
    units = [(recommender, unit) for recommender, unit in units if not unit.up_to_date]
    if not units:
        return
    connect(recipe.resources)
    data = ws / "data"
    n_items, parts = catalogue_size(data), split_parts(data)
    side_by_side(
        (partial(_publish, recommender, unit, n_items, parts, protocol) for recommender, unit in units),
        recipe.resources.parallel,
    )


def ranking_settings(recipe: Recipe) -> dict[str, Any]:
    """What a published evaluation was made with, as its manifest says."""
    protocol = _protocol(recipe)
    sampled = {"negatives": protocol.negatives, "seed": protocol.seed} if protocol.negatives else None
    return {"depth": protocol.depth, "sampled": sampled, "after_validation": protocol.after_validation}


def _protocol(recipe: Recipe) -> Protocol:
    asked = recipe.evaluation
    return Protocol(
        max(EXPOSURE_K, *asked.ks),
        negatives=asked.sampled_negatives,
        seed=recipe.seed,
        after_validation=asked.after_validation,
    )


def _publish(recommender: Place, unit: Stage, n_items: int, parts: list[Part], protocol: Protocol) -> None:
    """Rank one run in tasks, at most TASKS_AT_ONCE of them waiting, and publish it."""
    import ray

    rank = ray.remote(num_cpus=1)(rank_part)
    with unit.publishing() as draft:
        # Read once; the tasks of a node share its arrays in the object store.
        model = ray.remote(num_cpus=1)(_load).remote(recommender, n_items)
        total, waiting, working = Ranked.none(n_items), list(reversed(parts)), []
        try:
            while waiting or working:
                while waiting and len(working) < TASKS_AT_ONCE:
                    working.append(rank.remote(model, waiting.pop(), draft, protocol))
                (done,), working = ray.wait(working)
                total += _answer(done, recommender)
        finally:
            for left in working:
                ray.cancel(left)
        total.write_exposure(draft)
        unit.counts = total.counts


def _load(recommender: Place, n_items: int) -> Ranker:
    from app.recommenders import load

    model = load(recommender)
    check_catalogue(model, n_items)
    return model


def _answer(done: Any, recommender: Place) -> Ranked:
    """What a task answers; its InputError is the user's."""
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(done)
    except RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise InputError(f"{recommender}: {error.cause}") from None
        raise
