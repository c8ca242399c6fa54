"""The trials of a search for settings: what one trial runs, and the table of all."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.errors import InputError
from longtail.evaluation.constrained_choice import CHANGES
from longtail.recipe import RecommenderSection
from longtail.recommenders import build
from longtail.recommenders.training.compute import Compute
from longtail.runtime.cluster import fetch

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
        ("changes", CHANGES),  # against the recipe's own settings, at the best epoch of both
        ("lost", pa.list_(pa.string())),  # the slices of the constraint that it loses
        ("finished", pa.bool_()),  # false if ASHA stopped the trial
        ("fault", pa.string()),
    ]
)
"""One row per trial, best first: those that lose no slice, those that do, those that failed."""
FAILED = -1.0
"""Stands for the NDCG of a trial that has none; Ray Tune needs a number."""


def trainable(
    name: str, trials: list[RecommenderSection], seed: int, use_gpu: bool, read: list[Any], kept: Any
) -> Callable[[dict[str, Any]], None]:
    """The function that a trial runs. read: references to the training set and to the validation targets. kept: the actor
    of `TrialRanks`.
    """

    def run(config: dict[str, Any]) -> None:
        import ray
        from ray.tune import report

        from longtail.recommenders.training.validation import Validation

        started, last = time.monotonic(), {}
        state = {"epoch": 0, "best_epoch": 0, "ndcg": FAILED, "finished": False, "fault": None}

        def tell(epoch: int, score: float) -> None:
            state["epoch"] = epoch
            note(epoch, score)
            report(state | {"seconds": time.monotonic() - started})

        def note(epoch: int, score: float) -> None:
            if score > state["ndcg"]:
                state.update(ndcg=score, best_epoch=epoch)
                ray.get(kept.keep.remote(config["trial"], last["ranks"]))

        def ranked(ranks: np.ndarray) -> None:
            last["ranks"] = ranks

        train, targets = map(fetch, read)
        section = trials[config["trial"]]
        try:
            compute = Compute(use_gpu=use_gpu, report=tell, ranked=ranked)
            model = build(name, section, seed, compute).fit(train, None, targets)
            if state["ndcg"] == FAILED:  # the fit did not validate
                note(0, Validation.of(model, targets, seed, ranked)(model.arrays()))
            state["epoch"] = model.counts.get("epochs", 0)
        except InputError as error:
            state.update(ndcg=FAILED, fault=str(error))
        report(state | {"finished": True, "seconds": time.monotonic() - started})

    return run


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of TRIALS, best first; the first of equals is the one that was drawn first."""
    return sorted(
        rows, key=lambda row: (row["ndcg"] is None, bool(row["lost"]), -(row["ndcg"] or 0), row["trial"])
    )


def describe(row: dict[str, Any]) -> str:
    """A short text that describes a row of TRIALS."""
    settings = ", ".join(f"{key} {value}" for key, value in json.loads(row["settings"]).items())
    if row["fault"]:
        return f"{settings}: failed, {row['fault']}"
    epochs = f" after {row['epochs']} epochs" if row["epochs"] else ""
    early = "" if row["finished"] else ", ended early"
    return f"{settings}: NDCG@10 {row['ndcg']:.4f}{epochs}{early}, {row['seconds']:.1f} s"


def row_of(metrics: dict[str, Any], described: list[dict[str, Any]]) -> dict[str, Any]:
    """A row of TRIALS from the last report of a trial."""
    trial = metrics["config"]["trial"]
    return {
        "trial": trial,
        "settings": json.dumps(described[trial]),
        "ndcg": None if metrics["fault"] else metrics["ndcg"],
        "best_epoch": metrics["best_epoch"],
        "epochs": metrics["epoch"],
        "seconds": metrics["seconds"],
        "changes": None,
        "lost": [],
        "finished": metrics["finished"],
        "fault": metrics["fault"],
    }
