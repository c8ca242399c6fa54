"""Stage train: fused interactions -> fitted recommenders. Each recommender is published separately.

The driver reads no table. A Ray task reads the training set, fits, and saves the model in the draft of its unit.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from longtail.errors import InputError
from longtail.progress import called
from longtail.recipe import Recipe, RecommenderSection
from longtail.recommenders.interactions import Interactions, Preferences
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.recommenders.training.fits import Run, runs
from longtail.recommenders.training.reading import read_validation
from longtail.runtime.cluster import connect, relay, side_by_side
from longtail.workspace import Stage, Workspace
from longtail.workspace.place import Place

MEANING = 1
"""The version of how recommenders get their training set. The `meaning` of a section is the version of one model."""


def fit_all(recipe: Recipe, ws: Workspace) -> None:
    """Publish `recommenders/<variant>/<model>-<seed index>` for all `runs(recipe)` that are not up to date.

    `resources.parallel` fits run at a time, each in a Ray task. If `resources.workers` is above 1, a trained recommender is
    trained by so many Ray Train workers. A training that was interrupted continues from its checkpoint. Raises InputError
    if prepare or fuse has not run yet.
    """
    units = [(run, _unit(recipe, ws, run)) for run in runs(recipe)]
    due = [(run, unit) for run, unit in units if not unit.up_to_date]
    if not due:
        return
    ws.claim()
    connect(recipe.resources)
    with relay() as say:
        calls = (partial(_publish, recipe, ws, run, unit, say) for run, unit in due)
        side_by_side(calls, recipe.resources.parallel, "train", "fits")


def _unit(recipe: Recipe, ws: Workspace, run: Run) -> Stage:
    settings = recipe.recommenders[run.recommender].of_fit()
    settings["seed"] = _seed(recipe, run)
    return ws.stage(run.place, settings, [_training_set(recipe, ws, run), ws / "data"], MEANING)


def _training_set(recipe: Recipe, ws: Workspace, run: Run) -> Place:
    return ws / f"fused/{recipe.training_set_of(run.recommender, run.variant)}"


def _seed(recipe: Recipe, run: Run) -> int:
    return recipe.seed + run.seed_index


def _publish(recipe: Recipe, ws: Workspace, run: Run, unit: Stage, say: Callable[[str], None]) -> None:
    import ray
    from ray.exceptions import RayTaskError

    section = recipe.recommenders[run.recommender]
    trained = isinstance(section, TrainedSection)
    # The folder has the fingerprint in its name, so a fit with different settings or data cannot continue from here.
    checkpoints = Checkpoints(ws / f"checkpoints/{run.name}-{unit.fingerprint}")
    # A single worker is this task itself: Ray Train would start five processes for it, which takes 10 s and more. If the
    # task is lost with its process or node, Ray starts it again, and it goes on from its checkpoint.
    workers = recipe.resources.workers if trained and recipe.resources.workers > 1 else 0
    use_gpu = trained and recipe.resources.accelerator == "gpu"
    compute = Compute(
        workers=workers,
        use_gpu=use_gpu,
        checkpoints=checkpoints,
        say=partial(_said_of, run.name, say),
    )
    # If Ray Train has workers, they reserve their own CPUs and GPUs, and the task only waits for them.
    task = ray.remote(num_cpus=0 if workers else 1, num_gpus=1 if use_gpu and not workers else 0)(fit)
    with unit.publishing() as draft:
        fused, data = _training_set(recipe, ws, run), ws / "data"
        answer = task.remote(run.recommender, section, _seed(recipe, run), compute, fused, data, draft)
        try:
            unit.counts = ray.get(answer)
        except RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise InputError(f"recommenders.{run.recommender}: {error.cause}") from None
            raise
    checkpoints.clear()


def _said_of(name: str, say: Callable[[str], None], line: str) -> None:
    say(called(line, name))


def fit(
    name: str,
    section: RecommenderSection,
    seed: int,
    compute: Compute,
    fused: Place,
    data: Place,
    to: Place,
) -> dict[str, Any]:
    """Fit one recommender on a published variant (`schema.FUSED`, and `schema.PREFERENCES` if it has any) and save it
    to `to`. Returns the counts for its manifest.
    """
    from longtail.recommenders import build

    items = data / "items.parquet"
    n_items = pq.read_metadata(items.path, filesystem=items.fs).num_rows
    train = Interactions.from_table((fused / "interactions").read_table(), n_items)
    preferences = fused / "preferences"
    pairs = Preferences.from_table(preferences.read_table()) if preferences.exists() else Preferences.none()
    validation = read_validation(data) if isinstance(section, TrainedSection) else None
    model = build(name, section, seed, compute).fit(train, pairs, validation)
    model.save(to)
    return {
        "users": train.n_users,
        "items": n_items,
        "interactions": len(train.items),
        "generated": len(train.items) - int(train.observed.sum()),
    } | model.counts
