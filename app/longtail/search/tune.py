"""The search for a recommender's settings: Ray Tune with ASHA (Li et al., arXiv 1810.05934), on validation only.

Every trial fits on the observed training set, in its own process. Trials run in parallel. A trained model reports each
of its validations, and ASHA stops the trials that are worse than the others at the same epoch.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from longtail.errors import InputError
from longtail.recipe import Recipe, RecommenderSection, dump_recipe
from longtail.recommenders import build
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.reading import read_observed, read_validation
from longtail.registry import recommender_spec, recommenders
from longtail.runtime.cluster import connect, fetch
from longtail.search.spaces import draw, space_of
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

TRIALS = pa.schema(
    [
        ("trial", pa.int32()),  # in the order of drawing; 0 has the recipe's own settings
        ("settings", pa.string()),  # those that were searched, as JSON
        (
            "ndcg",
            pa.float64(),
        ),  # the best NDCG@10 on validation, by full ranking; null if the trial failed
        ("best_epoch", pa.int32()),  # 0 without epochs
        ("epochs", pa.int32()),
        ("seconds", pa.float64()),
        ("finished", pa.bool_()),  # false if ASHA stopped the trial
        ("fault", pa.string()),
    ]
)
"""One row per trial, best first."""

MEANING = 1
"""The version of this search's output. Raise it if equal settings and data give different results."""
REDUCTION = 3
"""ASHA continues the best third of the trials, at a ninth and at a third of the epochs."""
FAILED = -1.0

_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints tables of its own
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, not only the search
}


def tune(recipe: Recipe, ws: Workspace, only: str | None = None) -> dict[str, Place]:
    """Publish `tuning/<recommender>` for each recommender of the recipe, or only for the one in `only`.

    It has `trials.parquet`. Beside it is `<recommender>.yaml`, the recipe with the best settings. Returns these places,
    by recommender. Raises InputError, before any work, if a recommender cannot be tuned or a value of the space is bad,
    and also if no user has a validation item.
    """
    plans = {name: draw(recipe, name) for name in _names(recipe, only)}
    from longtail.data import prepare

    prepare(recipe, ws)
    if not read_manifest(ws.require("data"))["counts"]["valid"]:
        raise InputError(f"{ws}: no user has a validation item to tune on. Set dataset.valid_share above 0.")
    return {name: _tuned(recipe, ws, name, trials) for name, trials in plans.items()}


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
    """Search, if the published trials are not up to date. The recipe with the best settings is always written anew."""
    space = space_of(recipe, name)
    settings = {"trials": [trial.of_fit() for trial in trials]}
    stage = ws.stage(f"tuning/{name}", settings | {"seed": recipe.seed}, [ws / "data"], MEANING)
    if not stage.up_to_date:
        ws.claim()
        connect(recipe.resources)
        with stage.publishing() as draft:
            rows = _search(recipe, name, trials, list(space), ws / "data")
            if rows[0]["ndcg"] is None:
                raise InputError(f"recommenders.{name}: every trial failed, the first: {rows[0]['fault']}")
            (draft / "trials.parquet").write_table(pa.Table.from_pylist(rows, TRIALS))
            stage.counts = {
                "trials": len(rows),
                "ended early": sum(not row["finished"] for row in rows),
                "failed": sum(row["fault"] is not None for row in rows),
                "best NDCG@10": rows[0]["ndcg"],
                "NDCG@10 as in the recipe": next(row["ndcg"] for row in rows if row["trial"] == 0),
            }
    best = trials[(stage.place / "trials.parquet").read_table(["trial"])["trial"][0].as_py()]
    text = dump_recipe(_with(recipe, name, best)).encode()
    file = best_recipe(stage.place)
    if not file.exists() or file.read_bytes() != text:
        with ws.writing():
            file.replace_bytes(text)
    return stage.place


def best_recipe(place: Place) -> Place:
    """The file of the recipe with the best settings: beside `tuning/<recommender>`, as it can change alone."""
    return place.parent / f"{place.name}.yaml"


def _with(recipe: Recipe, name: str, section: RecommenderSection) -> Recipe:
    values = recipe.model_dump(mode="json")
    values["recommenders"][name] = section.model_dump(mode="json")
    return Recipe.model_validate(values)


def _search(
    recipe: Recipe, name: str, trials: list[RecommenderSection], searched: list[str], data: Place
) -> list[dict[str, Any]]:
    """Run all trials, `resources.parallel` at a time; rows of TRIALS, best first."""
    os.environ.update(_ENVIRONMENT)
    import ray
    import ray.tune

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    use_gpu = isinstance(trials[0], TrainedSection) and recipe.resources.accelerator == "gpu"
    read = [ray.remote(reader).remote(data) for reader in (read_observed, read_validation)]
    described = [
        {key: value for key, value in trial.model_dump(mode="json").items() if key in searched}
        for trial in trials
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = ray.tune.Tuner(
            ray.tune.with_resources(
                _trainable(name, trials, recipe.seed, use_gpu, read), {"cpu": 1, "gpu": int(use_gpu)}
            ),
            param_space={"trial": ray.tune.grid_search(list(range(len(trials))))},
            tune_config=ray.tune.TuneConfig(
                metric="ndcg",
                mode="max",
                scheduler=_asha(trials),
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
    rows = [_row(result.metrics, described) for result in found]
    return sorted(rows, key=lambda row: (row["ndcg"] is None, -(row["ndcg"] or 0), row["trial"]))


def _asha(trials: list[RecommenderSection]) -> Any:
    """The scheduler, None if the recommender is not trained in epochs."""
    from ray.tune.schedulers import ASHAScheduler

    if not isinstance(trials[0], TrainedSection):
        return None
    epochs = max(trial.epochs for trial in trials)
    return ASHAScheduler(
        time_attr="epoch",
        max_t=max(1, epochs - 1),  # no rung at the last epoch: to stop there would save nothing
        grace_period=max(1, (epochs - 1) // REDUCTION**2),
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )


def _trainable(
    name: str, trials: list[RecommenderSection], seed: int, use_gpu: bool, read: list[Any]
) -> Callable[[dict[str, Any]], None]:
    """The function that a trial runs. read: references to the training set and to the validation targets."""

    def run(config: dict[str, Any]) -> None:
        from ray.tune import report

        from longtail.recommenders.training.validation import Validation

        started = time.monotonic()
        state = {"epoch": 0, "best_epoch": 0, "ndcg": FAILED, "finished": False, "fault": None}

        def tell(epoch: int, score: float) -> None:
            state["epoch"] = epoch
            if score > state["ndcg"]:
                state.update(ndcg=score, best_epoch=epoch)
            report(state | {"seconds": time.monotonic() - started})

        train, targets = map(fetch, read)
        section = trials[config["trial"]]
        try:
            model = build(name, section, seed, Compute(use_gpu=use_gpu, report=tell)).fit(
                train, None, targets
            )
            if state["ndcg"] == FAILED:  # the fit did not validate
                state["ndcg"] = Validation.of(model, targets, seed)(model.arrays())
            state["epoch"] = model.counts.get("epochs", 0)
        except InputError as error:
            state.update(ndcg=FAILED, fault=str(error))
        report(state | {"finished": True, "seconds": time.monotonic() - started})

    return run


def _progress(name: str, described: list[dict[str, Any]]) -> Any:
    from ray.tune import Callback

    class Progress(Callback):
        """Logs one line for each trial that ended."""

        def __init__(self) -> None:
            self.ended, self.best = 0, FAILED

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            row = _row(trial.last_result, described)
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


def describe(row: dict[str, Any]) -> str:
    """A short text that describes a row of TRIALS."""
    settings = ", ".join(f"{key} {value}" for key, value in json.loads(row["settings"]).items())
    if row["fault"]:
        return f"{settings}: failed, {row['fault']}"
    epochs = f" after {row['epochs']} epochs" if row["epochs"] else ""
    early = "" if row["finished"] else ", ended early"
    return f"{settings}: NDCG@10 {row['ndcg']:.4f}{epochs}{early}, {row['seconds']:.1f} s"


def _row(metrics: dict[str, Any], described: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of TRIALS from the last report of a trial."""
    trial = metrics["config"]["trial"]
    return {
        "trial": trial,
        "settings": json.dumps(described[trial]),
        "ndcg": None if metrics["fault"] else metrics["ndcg"],
        "best_epoch": metrics["best_epoch"],
        "epochs": metrics["epoch"],
        "seconds": metrics["seconds"],
        "finished": metrics["finished"],
        "fault": metrics["fault"],
    }
