"""The stage `evaluate`: the ranks of every published recommender on the test."""

from functools import partial

from app.cluster import connect, side_by_side
from app.evaluation.bias import EXPOSURE_K
from app.evaluation.ranking import rank_all
from app.recipe import Recipe
from app.recommenders.runs import Run, runs
from app.workspace import Place, Stage, Workspace


def evaluate(recipe: Recipe, ws: Workspace) -> None:
    """Write `evaluation/<variant>/<recommender>-<seed>/` for every run of the recipe, each in a Ray task.

    What is written allows any metric up to the largest k, so a recipe that only changes smaller ks ranks
    nothing again. The protocol is that of `app.evaluation.ranking`. Raises InputError where a recommender is
    not trained yet.
    """
    depth = max(EXPOSURE_K, *recipe.evaluation.ks)
    units = [
        (run, ws.stage(run.evaluation, {"depth": depth}, [ws / "data", ws / run.place]))
        for run in runs(recipe)
    ]
    units = [(run, unit) for run, unit in units if not unit.up_to_date]
    if not units:
        return
    connect(recipe.resources)
    import ray

    task = ray.remote(num_cpus=1)(_rank_published)

    def publish(run: Run, unit: Stage) -> None:
        with unit.publishing() as draft:
            unit.counts = ray.get(task.remote(ws / run.place, ws / "data", draft, depth))

    side_by_side((partial(publish, run, unit) for run, unit in units), recipe.resources.parallel)


def _rank_published(recommender: Place, data: Place, draft: Place, depth: int) -> dict[str, int]:
    from app.recommenders import load

    return rank_all(load(recommender), data, draft, depth)
