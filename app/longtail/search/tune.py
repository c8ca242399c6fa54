"""The search for a recommender's settings: Ray Tune with ASHA (Li et al., arXiv 1810.05934), on validation only.

Every trial fits on the observed training set, in its own process. Trials run in parallel. A trained model reports each
of its validations, and ASHA stops the trials that are worse than the others at the same epoch. The best trial is that of
the highest NDCG@10 among those that lose no slice of the recipe's constraint against the recipe's own settings.
"""

import json
import logging
import os
import tempfile
from typing import Any

import pyarrow as pa

from longtail.errors import InputError
from longtail.evaluation.constrained_choice import Change, lost
from longtail.recipe import Recipe, RecommenderSection, dump_recipe
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.reading import read_observed, read_validation
from longtail.registry import recommender_spec, recommenders
from longtail.runtime.cluster import connect
from longtail.search.frontier import WATCHED, FrontierPoint, draw_frontier
from longtail.search.spaces import draw, space_of
from longtail.search.trial_ranks import TrialRanks
from longtail.search.trials import FAILED, TRIALS, describe, ranked, row_of, trainable
from longtail.text.embed_stage import embed
from longtail.text.text_source import TextSource
from longtail.workspace import Stage, Workspace, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

MEANING = 3
"""The version of this search's output. Raise it if equal settings and data give different results."""
REDUCTION = 3
"""ASHA continues the best third of the trials, at a ninth and at a third of the epochs."""

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints tables of its own
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not only the search
}


def tune(recipe: Recipe, ws: Workspace, only: str | None = None) -> dict[str, Place]:
    """Publish `tuning/<recommender>` for each recommender of the recipe, or only for the one in `only`.

    It has `trials.parquet` and `frontier.png`. Beside them is `tuning/recipe.yaml`, the recipe with the best settings of
    every recommender that was searched so far with this recipe. Returns the places, by recommender. Raises InputError,
    before any work, if a recommender cannot be tuned or a value of the space is bad, and also if no user has a validation
    item.
    """
    names = _names(recipe, only)
    plans = {name: draw(recipe, name) for name in recipe.recommenders if space_of(recipe, name)}
    from longtail.data import prepare

    prepare(recipe, ws)
    embed(recipe, ws)
    if not read_manifest(ws.require("data"))["counts"]["valid"]:
        raise InputError(f"{ws}: no user has a validation item to tune on. Set dataset.valid_share above 0.")
    found = {}
    for name in names:
        found[name] = _tuned(recipe, ws, name, plans[name])
        # After each search, so that an interrupted command leaves what it found.
        _save_best(recipe, ws, plans, best_recipe(found[name]))
    return found


def _names(recipe: Recipe, only: str | None) -> list[str]:
    chosen = recipe.recommenders
    if only is not None and only not in chosen:
        raise InputError(f"--recommender {only}: the recipe has {', '.join(chosen)}.")
    names = [name for name in ([only] if only else chosen) if space_of(recipe, name)]
    if not names:
        able = [name for name in recommenders() if recommender_spec(name).space]
        raise InputError(f"{only or 'the recipe'}: nothing to tune. Settings has: {', '.join(able)}.")
    return names


def _tuned(recipe: Recipe, ws: Workspace, name: str, trials: list[RecommenderSection]) -> Place:
    """Search, if the published trials are not up to date."""
    stage = _stage(recipe, ws, name, trials)
    if not stage.up_to_date:
        ws.claim()
        connect(recipe.resources)
        with stage.publishing() as draft:
            rows = _search(recipe, name, trials, list(space_of(recipe, name)), _texts(recipe, ws, trials))
            if rows[0]["ndcg"] is None:
                raise InputError(f"recommenders.{name}: every trial failed, the first: {rows[0]['fault']}")
            (draft / "trials.parquet").write_table(pa.Table.from_pylist(rows, TRIALS))
            if any(row["changes"] for row in rows):
                (draft / "frontier.png").write_bytes(_frontier(rows, name, recipe))
            stage.counts = {
                "trials": len(rows),
                "ended early": sum(not row["finished"] for row in rows),
                "failed": sum(row["fault"] is not None for row in rows),
                "best NDCG@10": rows[0]["ndcg"],
                "NDCG@10 free": max(row["ndcg"] for row in rows if row["ndcg"] is not None),
                "NDCG@10 as in the recipe": next(row["ndcg"] for row in rows if row["trial"] == 0),
            }
    return stage.place


def _stage(recipe: Recipe, ws: Workspace, name: str, trials: list[RecommenderSection]) -> Stage:
    settings = {"trials": [trial.of_fit() for trial in trials], "constraint": recipe.constraint.model_dump()}
    texts = _texts(recipe, ws, trials)
    settings |= {"seed": recipe.seed} | texts.told
    return ws.stage(f"tuning/{name}", settings, [texts.data, *texts.vectors], MEANING)


def _texts(recipe: Recipe, ws: Workspace, trials: list[RecommenderSection]) -> TextSource:
    return TextSource.of(recipe.text, ws, ws / "data", trials)


def best_recipe(place: Place) -> Place:
    """The file of the recipe with the best settings: beside each `tuning/<recommender>`."""
    return place.parent / "recipe.yaml"


def _save_best(
    recipe: Recipe, ws: Workspace, plans: dict[str, list[RecommenderSection]], file: Place
) -> None:
    """Write the recipe with the best settings of each recommender whose published search has the trials of its plan."""
    values = recipe.model_dump(mode="json")
    for name, trials in plans.items():
        stage = _stage(recipe, ws, name, trials)
        if not stage.up_to_date:
            continue
        first = (stage.place / "trials.parquet").read_table(["trial", "settings"]).slice(0, 1).to_pylist()[0]
        values["recommenders"][name] = trials[first["trial"]].model_dump(mode="json")
        found = {"trials": len(trials), "settings": json.loads(first["settings"])}
        values["tune"]["found"][name] = found
    text = dump_recipe(Recipe.model_validate(values)).encode()
    if not file.exists() or file.read_bytes() != text:
        with ws.writing():
            file.replace_bytes(text)


def _frontier(rows: list[dict[str, Any]], name: str, recipe: Recipe) -> bytes:
    points = [
        FrontierPoint(
            row["ndcg"],
            [Change(**one) for one in row["changes"]],
            kept=not row["lost"],
            chosen=row is rows[0],
            base=row["trial"] == 0,
        )
        for row in rows
        if row["changes"]
    ]
    return draw_frontier(points, name, recipe.constraint)


def _search(
    recipe: Recipe, name: str, trials: list[RecommenderSection], searched: list[str], texts: TextSource
) -> list[dict[str, Any]]:
    """Run all trials, `resources.parallel` at a time; rows of TRIALS, best first."""
    os.environ.update(_ENVIRONMENT)
    import ray
    import ray.tune

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    use_gpu = isinstance(trials[0], TrainedSection) and recipe.resources.accelerator == "gpu"
    data = texts.data
    read = [ray.remote(read_observed).remote(data, texts), ray.remote(read_validation).remote(data)]
    kept = ray.remote(num_cpus=0)(TrialRanks).remote(data, recipe.constraint.slices or WATCHED, recipe.seed)
    described = [
        {key: value for key, value in trial.model_dump(mode="json").items() if key in searched}
        for trial in trials
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = ray.tune.Tuner(
            ray.tune.with_resources(
                trainable(name, trials, recipe.seed, use_gpu, read, kept), {"cpu": 1, "gpu": int(use_gpu)}
            ),
            param_space={"trial": ray.tune.grid_search(list(range(len(trials))))},
            tune_config=ray.tune.TuneConfig(
                metric="ndcg",
                mode="max",
                scheduler=_asha(trials, bool(recipe.constraint.slices)),
                max_concurrent_trials=recipe.resources.parallel,
                reuse_actors=True,
            ),
            run_config=ray.tune.RunConfig(
                name=name,
                storage_path=folder,
                verbose=0,
                callbacks=[_progress(name, described)],
                failure_config=ray.tune.FailureConfig(fail_fast=True),
            ),
        ).fit()
    if found.errors:
        raise found.errors[0]
    rows = [row_of(result.metrics, described) for result in found]
    fit = [row["trial"] for row in rows if row["ndcg"] is not None]
    for trial, changes in ray.get(kept.changes.remote(fit)).items():
        row = next(row for row in rows if row["trial"] == trial)
        row |= {"changes": [one.told() for one in changes], "lost": lost(changes, recipe.constraint)}
    return ranked(rows)


def _asha(trials: list[RecommenderSection], spare_first: bool) -> Any:
    """The scheduler, None if the recommender is not trained in epochs.

    spare_first: never stop the trial with the recipe's own settings, so that the others are not held against a fit that was
    cut off.
    """
    from ray.tune.schedulers import ASHAScheduler

    class Sparing(ASHAScheduler):
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision = super().on_trial_result(controller, trial, result)
            return self.CONTINUE if spare_first and trial.config["trial"] == 0 else decision

    if not isinstance(trials[0], TrainedSection):
        return None
    epochs = max(trial.epochs for trial in trials)
    return Sparing(
        time_attr="epoch",
        max_t=max(1, epochs - 1),  # no rung at the last epoch: to stop there would save nothing
        grace_period=max(1, (epochs - 1) // REDUCTION**2),
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )


def _progress(name: str, described: list[dict[str, Any]]) -> Any:
    from ray.tune import Callback

    class Progress(Callback):
        """Logs one line for each trial that ended."""

        def __init__(self) -> None:
            self.ended, self.best = 0, FAILED

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            row = row_of(trial.last_result, described)
            self.ended += 1
            self.best = max(self.best, trial.last_result["ndcg"])
            log.info(
                "%s: trial %d of %d, %s; best so far %.4f",
                name,
                self.ended,
                len(described),
                describe(row),
                self.best,
            )

    return Progress()
