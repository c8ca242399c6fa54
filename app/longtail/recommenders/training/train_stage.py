"""Stage train: fused interactions -> fitted recommenders. Each recommender is published separately.

The driver reads no table. A Ray task reads the training set, fits, and saves the model in the draft of its unit.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
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
from longtail.recommenders.training.schedule import Schedule
from longtail.rounds import first_round, rounds
from longtail.runtime.cluster import connect, relay, side_by_side
from longtail.text.text_source import TextSource
from longtail.variants import VARIANTS
from longtail.workspace import Stage, Workspace, read_manifest
from longtail.workspace.place import Place

MEANING = 1
"""The version of how recommenders get their training set. The `meaning` of a section is the version of one model."""


def fit_all(recipe: Recipe, ws: Workspace) -> None:
    """Publish `recommenders/<variant>/<model>-<seed index>` of every round, for all `runs` that are not up to date.

    `resources.parallel` fits run at a time, each in a Ray task. If `resources.workers` is above 1, a trained recommender is
    trained by so many Ray Train workers. A training that was interrupted continues from its checkpoint. Raises InputError
    if prepare or fuse has not run yet.
    """
    for round_ in rounds(recipe):
        fit_runs(round_.seeded(recipe), ws, runs(recipe, round_))


def fit_runs(recipe: Recipe, ws: Workspace, wanted: Iterable[Run]) -> None:
    """Publish those of some fits of a round that are not up to date; see `fit_all`. recipe: see `Round.seeded`."""
    units = [(run, _unit(recipe, ws, run)) for run in wanted]
    due = [(run, unit) for run, unit in units if not unit.up_to_date]
    if not due:
        return
    ws.claim()
    connect(recipe.resources)
    with relay() as say:
        calls = (partial(_publish, recipe, ws, run, unit, say) for run, unit in due)
        side_by_side(calls, recipe.resources.parallel, "train", "fits")


def _unit(recipe: Recipe, ws: Workspace, run: Run) -> Stage:
    settings = run.section(recipe).of_fit() | {"seed": run.seed(recipe)}
    if schedule := _schedule(recipe, ws, run):
        # What nothing chose is not told, so a fit of before there were cold items is not made again.
        settings["schedule"] = {name: value for name, value in asdict(schedule).items() if value is not None}
    texts = _texts(recipe, ws, run)
    inputs = [_training_set(recipe, ws, run), ws / run.round.data, *texts.vectors]
    return ws.stage(run.place, settings | texts.told, inputs, MEANING)


def _texts(recipe: Recipe, ws: Workspace, run: Run) -> TextSource:
    return TextSource.of(recipe.text, ws, ws / run.round.data, [run.section(recipe)])


def _training_set(recipe: Recipe, ws: Workspace, run: Run) -> Place:
    """The published training set of a fit. That of a variant without answers of an LLM is the same for all seeds."""
    round_ = run.round if VARIANTS[run.variant].sources else replace(run.round, seed_index=0)
    return ws / round_.at(f"fused/{recipe.training_set_of(run.recommender, run.variant)}")


def _schedule(recipe: Recipe, ws: Workspace, run: Run) -> Schedule | None:
    """What the fit of the first round chose on validation. None in the first round, and if nothing was validated."""
    if not run.round.final or not isinstance(run.section(recipe), TrainedSection):
        return None
    chosen = read_manifest(ws.require(replace(run, round=first_round(run.round)).place))["counts"]
    if "validation NDCG@10" not in chosen:
        return None
    drops = [epoch for epoch in chosen["lr drops"] if epoch < chosen["best epoch"]]
    return Schedule(chosen["best epoch"], drops, chosen.get("vectors of cold items"))


def _publish(recipe: Recipe, ws: Workspace, run: Run, unit: Stage, say: Callable[[str], None]) -> None:
    import ray
    from ray.exceptions import RayTaskError

    section = run.section(recipe)
    trained = isinstance(section, TrainedSection)
    # The folder has the fingerprint in its name, so a fit with different settings or data cannot continue from here.
    checkpoints = Checkpoints(ws / f"checkpoints/{run.name}-{unit.fingerprint}")
    schedule = _schedule(recipe, ws, run)
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
        fused, data = _training_set(recipe, ws, run), ws / run.round.data
        seed = run.seed(recipe)
        texts = _texts(recipe, ws, run)
        answer = task.remote(run.recommender, section, seed, compute, fused, data, texts, draft, schedule)
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
    texts: TextSource,
    to: Place,
    schedule: Schedule | None = None,
) -> dict[str, Any]:
    """Fit one recommender on a published variant (`schema.FUSED`, and `schema.PREFERENCES` if it has any) and save it
    to `to`. Returns the counts for its manifest. A trained one follows `schedule`, or else what validation decides.
    """
    from longtail.recommenders import build

    items = data / "items.parquet"
    n_items = pq.read_metadata(items.path, filesystem=items.fs).num_rows
    train = Interactions.from_table((fused / "interactions").read_table(), n_items, texts)
    preferences = fused / "preferences"
    pairs = Preferences.from_table(preferences.read_table()) if preferences.exists() else Preferences.none()
    validation = read_validation(data) if isinstance(section, TrainedSection) else None
    model = build(name, section, seed, compute)
    if schedule:
        model.schedule = schedule
    model.fit(train, pairs, validation).save(to)
    return {
        "users": train.n_users,
        "items": n_items,
        "interactions": len(train.items),
        "generated": len(train.items) - int(train.observed.sum()),
    } | model.counts
