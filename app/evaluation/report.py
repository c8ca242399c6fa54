"""The stage `report`: `metrics.json` for machines and one page for people."""

import subprocess
from collections import Counter
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from app.cluster import connect
from app.errors import InputError
from app.evaluation.cost import Tally, cost, tally
from app.evaluation.evaluate import evaluated, ranking_settings
from app.evaluation.llms import read_llm, tuned
from app.evaluation.measure import measure_lists, measure_slice
from app.evaluation.slices import SLICE_NAMES
from app.evaluation.truth import precision
from app.recipe import Recipe
from app.recommenders.runs import Run, ServedRun, served_runs
from app.workspace import STAGES, Place, Workspace, read_manifest


def report(recipe: Recipe, ws: Workspace) -> None:
    """Publish `report/metrics.json` and `report/index.html`, which is made from nothing but the former.

    All that grows with users is computed in Ray tasks; only figures come back. Raises InputError where a
    stage that the report rests on has not run.
    """
    fused = [ws / f"fused/{name}" for name in recipe.training_sets]
    evaluations = [ws / run.evaluation for run in evaluated(recipe)]
    llms = tuned(recipe, ws).values()
    inputs = [ws / "data", *llms, *_augmentations(recipe, ws), *fused, *evaluations]
    unit = ws.stage("report", recipe.model_dump(mode="json"), inputs)
    if unit.up_to_date:
        return
    for run in evaluated(recipe):
        _check_ranking(recipe, ws / run.evaluation, run)
    from app.evaluation.page import render  # brings matplotlib

    connect(recipe.resources)
    with unit.publishing() as draft:
        metrics = collect(recipe, ws)
        (draft / "metrics.json").write_json(metrics)
        (draft / "index.html").write_bytes(render(metrics).encode())


def collect(recipe: Recipe, ws: Workspace) -> dict[str, Any]:
    """The content of `metrics.json`; needs a joined Ray."""
    import ray

    rows = [task for name in recipe.recommenders.chosen() for task in _measure(name, recipe, ws)]
    data, augmentations = ws / "data", _augmentations(recipe, ws)
    ledgers = [file for place in augmentations for file in (place / "answers").files(".parquet")]
    tallies = [ray.remote(num_cpus=1)(tally).remote(file) for file in ledgers]
    llms = {role: ray.remote(num_cpus=1)(read_llm).remote(place) for role, place in tuned(recipe, ws).items()}
    simulated = (data / "truth").exists()
    precisions = {
        variant: ray.remote(num_cpus=1)(precision).remote(
            ws.require(f"fused/{variant}"), data, recipe.evaluation.bootstrap, recipe.seed
        )
        for variant in recipe.variants
        if simulated and variant != "observed" and variant in recipe.training_sets
    }
    total = reduce(add, ray.get(tallies), Tally())
    seconds = sum(read_manifest(place)["seconds"] for place in augmentations)
    metrics = {
        "recipe": recipe.model_dump(mode="json"),
        "dataset": read_manifest(data)["counts"],
        "commit": code_commit(),
        "rows": [asdict(row) for some in ray.get(rows) for row in some],
        "proposals": dict(total.proposals),
        "cost": cost(total, seconds),
        "stages": stage_seconds(ws.manifests()),
    }
    if served := choices(recipe, ws):
        metrics["serving"] = served
    if llms:
        base = {"base": recipe.llm.base}
        metrics["llms"] = {role: base | ray.get(task) for role, task in llms.items()}
    if simulated:
        found = {variant: ray.get(task) for variant, task in precisions.items()}
        metrics["precision"] = {variant: value for variant, value in found.items() if value}
    return metrics


def _check_ranking(recipe: Recipe, place: Place, run: Run | ServedRun) -> None:
    """Raise InputError where ranks were made for other figures than the recipe asks for."""
    found, wanted = read_manifest(place)["settings"], ranking_settings(recipe, run)
    if found != wanted:
        raise InputError(
            f"{place}: ranked with {found}, the recipe asks for {wanted}. Run longtail evaluate again."
        )


def choices(recipe: Recipe, ws: Workspace) -> list[dict[str, Any]]:
    """How the lists of each served run were fused, as its evaluation chose it on validation."""
    return [
        {"recommender": run.recommender, "variant": run.variant, "seed_index": run.fit.seed_index}
        | read_manifest(ws / run.evaluation)["counts"]["serving"]
        for run in served_runs(recipe)
    ]


def stage_seconds(manifests: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """Seconds and published units of each stage before the report, in the order of a run.

    The seconds of units are added up, also of those that ran side by side.
    """
    seconds, units = Counter(), Counter()
    for place, manifest in manifests.items():
        stage = STAGES.get(place.split("/")[0])
        seconds[stage] += manifest["seconds"]
        units[stage] += 1
    ran = [stage for stage in STAGES.values() if units[stage] and stage != "report"]
    return {stage: {"seconds": round(seconds[stage], 3), "units": units[stage]} for stage in ran}


def code_commit() -> str | None:
    """The git commit of this code, `-dirty` where tracked files differ from it; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _augmentations(recipe: Recipe, ws: Workspace) -> list[Place]:
    if not recipe.augmented:
        return []
    return [
        ws / f"augmentation/{name}" for name in dict.fromkeys(section.strategy for section in recipe.augment)
    ]


def _measure(recommender: str, recipe: Recipe, ws: Workspace) -> list[Any]:
    """Tasks that answer all rows of one recommender, a task for each slice and one for the lists."""
    import ray

    places: dict[str, list[Place]] = {}
    for run in evaluated(recipe):
        if run.recommender == recommender:
            places.setdefault(run.variant, []).append(ws / run.evaluation)
    data, settings = ws / "data", recipe.evaluation
    of_slice = ray.remote(num_cpus=1)(measure_slice)
    return [
        *(of_slice.remote(recommender, name, places, data, settings, recipe.seed) for name in SLICE_NAMES),
        ray.remote(num_cpus=1)(measure_lists).remote(recommender, places, data),
    ]
