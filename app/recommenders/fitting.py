"""Stage train: fused interactions -> fitted recommenders, each a published unit of its own.

The driver holds no table: a Ray task reads its training set, fits, and saves into the draft of its unit.
"""

from functools import partial
from typing import Any

import pyarrow.parquet as pq

from app.cluster import connect, side_by_side
from app.errors import InputError
from app.recipe import Recipe, RecommenderSection, Trained
from app.recommenders.base import Interactions
from app.recommenders.runs import Run, runs
from app.workspace import Place, Stage, Workspace


def fit_all(recipe: Recipe, ws: Workspace) -> None:
    """Publish `recommenders/<variant>/<model>-<s>` for all `runs(recipe)` that are not up to date.

    `resources.parallel` are fitted at a time, each trained one by `resources.workers` Ray Train workers.
    Raises InputError where prepare or fuse has not run yet.
    """
    units = [(run, _unit(recipe, ws, run)) for run in runs(recipe)]
    due = [(run, unit) for run, unit in units if not unit.up_to_date]
    if not due:
        return
    connect(recipe.resources)
    side_by_side((partial(_publish, recipe, ws, run, unit) for run, unit in due), recipe.resources.parallel)


def _unit(recipe: Recipe, ws: Workspace, run: Run) -> Stage:
    settings = recipe.recommenders.chosen()[run.recommender].model_dump(mode="json", exclude={"variants"})
    settings["seed"] = _seed(recipe, run)
    return ws.stage(run.place, settings, [ws / f"fused/{run.variant}", ws / "data"])


def _seed(recipe: Recipe, run: Run) -> int:
    return recipe.seed + run.seed_index


def _publish(recipe: Recipe, ws: Workspace, run: Run, unit: Stage) -> None:
    import ray
    from ray.exceptions import RayTaskError

    section = recipe.recommenders.chosen()[run.recommender]
    trained = isinstance(section, Trained)
    # A trained model's task only waits for its Ray Train workers, which ask for their own CPUs.
    task = ray.remote(num_cpus=0 if trained else 1)(fit)
    with unit.publishing() as draft:
        answer = task.remote(
            run.recommender,
            section,
            _seed(recipe, run),
            recipe.resources.workers,
            trained and recipe.resources.accelerator == "gpu",
            ws / f"fused/{run.variant}/interactions",
            ws / "data/items.parquet",
            draft,
        )
        try:
            unit.counts = ray.get(answer)
        except RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise InputError(f"recommenders.{run.recommender}: {error.cause}") from None
            raise


def fit(
    name: str,
    section: RecommenderSection,
    seed: int,
    workers: int,
    use_gpu: bool,
    interactions: Place,
    items: Place,
    to: Place,
) -> dict[str, Any]:
    """Fit one recommender on a folder of `schema.FUSED` and save it to `to`; returns the counts for its
    manifest.
    """
    from app.recommenders import build

    n_items = pq.read_metadata(items.path, filesystem=items.fs).num_rows
    train = Interactions.from_table(interactions.read_table(), n_items)
    model = build(name, section, seed, workers, use_gpu).fit(train)
    model.save(to)
    return {
        "users": train.n_users,
        "items": n_items,
        "interactions": len(train.items),
        "generated": len(train.items) - int(train.observed.sum()),
    } | model.counts
