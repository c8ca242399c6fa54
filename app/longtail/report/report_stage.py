"""The stage `report`: writes `metrics.json` for programs and one HTML page for people."""

import subprocess
from collections import Counter
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from longtail.aggregation.choice import FIGURES, Figure, best, best_free, choose, read_figures
from longtail.augment.gate import SPENT, gate_place
from longtail.errors import InputError
from longtail.evaluation.answer_agreement import agreement
from longtail.evaluation.categories import read_categories
from longtail.evaluation.cold_frontier import frontier_tasks, read_frontiers
from longtail.evaluation.evaluated_runs import evaluated, evaluations, ranking_settings
from longtail.evaluation.family import corrected
from longtail.evaluation.kind_rows import compared_kinds, measure_kinds
from longtail.evaluation.llm_cost import Tally, cost, lift_per_cost, tally
from longtail.evaluation.one_user import before_and_after
from longtail.evaluation.report_rows import measure
from longtail.evaluation.run_cost import run_cost, stage_seconds
from longtail.evaluation.simulated_truth import precision
from longtail.evaluation.training_bias import measure_training_set
from longtail.recipe import Recipe
from longtail.recommenders.training.fits import Run, ServedRun, served_runs
from longtail.report.contenders import Fit
from longtail.report.llm_words import read_llm, tuned
from longtail.report.summary import SLICES, nearest_ten
from longtail.report.verdict import verdict
from longtail.rounds import last_round, rounds
from longtail.runtime.cluster import connect
from longtail.variants import VARIANTS
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

MEANING = 6
"""The version of this stage's output. Raise it if equal settings and inputs give different figures or another page."""


def report(recipe: Recipe, ws: Workspace) -> None:
    """Publish `report/metrics.json`, and `report/index.html`, which is made from `metrics.json` alone.

    The report that it replaces stays in `reports/`.

    Everything that grows with the users is computed in Ray tasks, which return only figures. Raises InputError if a
    stage whose output the report needs has not run.
    """
    round_ = last_round(recipe)
    fused = [ws / round_.at(f"fused/{name}") for name in recipe.training_sets]
    evaluations = [ws / run.evaluation for run in evaluated(recipe)]
    llms = tuned(recipe, ws).values()
    asked = [place for some in _augmentations(recipe, ws).values() for place in some]
    inputs = [ws / round_.data, *llms, *asked, *fused, *evaluations, ws / FIGURES]
    unit = ws.stage("report", recipe.model_dump(mode="json"), inputs, MEANING)
    if unit.up_to_date:
        return
    ws.claim()
    ws.keep("report", "reports")
    for run in evaluated(recipe):
        _check_ranking(recipe, ws / run.evaluation, run)
    from longtail.report.page import render  # brings matplotlib

    connect(recipe.resources)
    with unit.publishing() as draft:
        metrics = collect(recipe, ws)
        (draft / "metrics.json").write_json(metrics)
        (draft / "index.html").write_bytes(render(metrics).encode())


def collect(recipe: Recipe, ws: Workspace) -> dict[str, Any]:
    """The content of `metrics.json`. Ray must be connected."""
    import ray

    round_, augmentations = last_round(recipe), _augmentations(recipe, ws)
    data = ws / round_.data
    rows = [
        ray.remote(num_cpus=1)(measure).remote(
            name, evaluations(name, recipe, ws), data, recipe.evaluation, recipe.seed
        )
        for name in recipe.recommenders
    ]
    tallies = {
        name: [task for place in places for task in _over_files(tally, place / "answers")]
        for name, places in augmentations.items()
    }
    labels, training_sets = _labels(recipe, ws, data), _training_sets(recipe, ws)
    categories = ray.remote(num_cpus=1)(_attribute).remote(data)
    llms = {role: ray.remote(num_cpus=1)(read_llm).remote(place) for role, place in tuned(recipe, ws).items()}
    simulated = (data / "truth").exists()
    precisions = {
        variant: ray.remote(num_cpus=1)(precision).remote(
            ws.require(round_.at(f"fused/{variant}")), data, recipe.evaluation.bootstrap, recipe.seed
        )
        for variant in recipe.variants
        if simulated and variant != "observed" and variant in recipe.training_sets
    }
    frontier = frontier_tasks(recipe, ws)
    kinds = [
        ray.remote(num_cpus=1)(measure_kinds).remote(*fit, places, data, recipe.evaluation, recipe.seed)
        for fit, places in compared_kinds(recipe, ws).items()
    ]
    totals = {name: reduce(add, ray.get(tasks), Tally()) for name, tasks in tallies.items()}
    seconds = {
        name: sum(read_manifest(place)["seconds"] for place in places)
        for name, places in augmentations.items()
    }
    gates = _gates(recipe, ws)
    for name, own in gates.items():  # their questions were paid for too
        totals[name] += reduce(add, (_asked_at(gate["counts"]) for gate in own))
        seconds[name] += sum(gate["seconds"] for gate in own)
    spent = costs(recipe, totals, seconds)
    k = nearest_ten(recipe.evaluation.ks)
    found = [row for some in ray.get(rows) for row in some]
    measured = [asdict(row) for row in corrected(found, "recall", k, SLICES)]
    metrics = {
        "recipe": recipe.model_dump(mode="json"),
        "dataset": read_manifest(data)["counts"],
        "commit": code_commit(),
        "rows": measured,
        **spent,
        "lift_per_cost": lift_per_cost(measured, asked_for(recipe), spent["strategies"], k),
        "category": ray.get(categories),
        "training_sets": {name: ray.get(task) for name, task in training_sets.items()},
        "labels": {name: found for name, task in labels.items() if (found := ray.get(task))},
        "stages": stage_seconds(ws.manifests()),
        "choice": choice(recipe, read_figures(ws)),
    }
    metrics["spent"] = run_cost(metrics["stages"], recipe.prices, spent["cost"]["money"])
    said = verdict(metrics)
    metrics["verdict"] = {"sentences": list(said.sentences), "serve": said.serve}
    metrics["example"] = example(ws, said.shown)
    if gates:  # what the first seed's LLM showed there
        metrics["gates"] = {name: own[0]["counts"] for name, own in gates.items()}
    if served := choices(recipe, ws):
        metrics["serving"] = served
    if kinds:
        metrics["kinds"] = [asdict(row) for some in ray.get(kinds) for row in some]
    if cold := read_frontiers(frontier):
        metrics["cold_frontier"] = cold
    if llms:
        base = {"base": recipe.llm.base}
        metrics["llms"] = {role: base | ray.get(task) for role, task in llms.items()}
    if simulated:
        found = {variant: ray.get(task) for variant, task in precisions.items()}
        metrics["precision"] = {variant: value for variant, value in found.items() if value}
    return metrics


def costs(recipe: Recipe, totals: dict[str, Tally], seconds: dict[str, float]) -> dict[str, Any]:
    """The `cost` of all strategies together and of each one, and the outcomes of their proposals.

    totals and seconds: the sums and the wall seconds of each strategy.
    """
    price = recipe.prices.models.get(recipe.llm.base)
    total = reduce(add, totals.values(), Tally())
    return {
        "proposals": dict(total.proposals),
        "cost": cost(total, sum(seconds.values()), price),
        "strategies": {
            name: cost(own, seconds[name], price) | {"outcomes": dict(own.proposals)}
            for name, own in totals.items()
        },
    }


def asked_for(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """The strategies of each LLM variant of the recipe that could be used, so of none that uses the answer key."""
    found = served_runs(recipe, last_round(recipe))
    served = {run.variant: (run.strategy,) for run in found if not run.stand_in}
    trained = {
        one.name: one.sources for one in VARIANTS.values() if one.kind == "llm" and not one.hits_removed
    }
    return {name: sources for name, sources in trained.items() if name in recipe.variants} | served


def _asked_at(gate: dict[str, Any]) -> Tally:
    """What a gate asked, from its counts."""
    sums = Counter({part: gate[part] for part in SPENT if part != "requests"})
    return Tally(requests=gate["requests"], sums=sums)


def _gates(recipe: Recipe, ws: Workspace) -> dict[str, list[dict[str, Any]]]:
    """For each strategy with a gate, the manifests of the gates of all seeds."""
    names = [one.strategy for one in recipe.augment if recipe.augmented and getattr(one, "gate", False)]
    places = {name: dict.fromkeys(gate_place(round_, name) for round_ in rounds(recipe)) for name in names}
    found = {name: [read_manifest(ws / place) for place in own] for name, own in places.items()}
    return {name: own for name, own in found.items() if all(own)}


def _over_files(task: Any, folder: Place) -> list[Any]:
    import ray

    return [ray.remote(num_cpus=1)(task).remote(file) for file in folder.files(".parquet")]


def _labels(recipe: Recipe, ws: Workspace, data: Place) -> dict[str, Any]:
    """For each strategy, a task that compares its answers in the last round of the first seed with the held-out items."""
    import ray

    resamples, seed, round_ = recipe.evaluation.bootstrap, recipe.seed, last_round(recipe)
    task = ray.remote(num_cpus=1)(agreement)
    return {
        name: task.remote(name, ws / round_.at(f"augmentation/{name}/answers"), data, resamples, seed)
        for name in _augmentations(recipe, ws)
    }


def _training_sets(recipe: Recipe, ws: Workspace) -> dict[str, Any]:
    """For each training set, a task that describes it. Empty if the recipe asks no LLM."""
    import ray

    if not recipe.augmented:
        return {}
    task, round_ = ray.remote(num_cpus=1)(measure_training_set), last_round(recipe)
    return {
        name: task.remote(ws.require(round_.at(f"fused/{name}")), ws / round_.data)
        for name in recipe.training_sets
    }


def _attribute(data: Place) -> str | None:
    """The name of the attribute that the report uses as category. None if the catalogue has no attribute."""
    found = read_categories(data)
    return found.attribute if found else None


def _check_ranking(recipe: Recipe, place: Place, run: Run | ServedRun) -> None:
    """Raise InputError if the ranks were made with settings that are different from the recipe's."""
    found, wanted = read_manifest(place)["settings"], ranking_settings(recipe, run)
    if found != wanted:
        raise InputError(
            f"{place}: ranked with {found}, the recipe asks for {wanted}. Run longtail evaluate again."
        )


def choices(recipe: Recipe, ws: Workspace) -> list[dict[str, Any]]:
    """The fusion of each served run, as its evaluation chose it on validation."""
    return [
        {"recommender": run.recommender, "variant": run.variant, "seed_index": run.seed_index}
        | read_manifest(ws / run.evaluation)["counts"]["serving"]
        for run in evaluated(recipe)
        if isinstance(run, ServedRun) and not run.alone
    ]


def choice(recipe: Recipe, figures: list[Figure]) -> dict[str, Any]:
    """The validation `figures` of every fit, the `best` fit, the best `control`, the fit that would be best without the
    recipe's constraint (`free`), and the fit that is `served`; `slices`: those of the constraint.

    The four fits are None if there is none. `fault`: the reason if nothing is served.
    """
    found: dict[str, Any] = {"figures": [one.told() for one in figures], "served": None, "fault": None}
    found["slices"] = recipe.constraint.slices
    watched = [one for one in figures if one.users]
    for name, own in (("best", False), ("control", True)):
        of_kind = [one for one in watched if one.control == own]
        found[name] = best(of_kind).told() if of_kind else None
    ours = [one for one in watched if not one.control]
    found["free"] = best_free(ours).told() if ours else None
    try:
        found["served"] = choose(figures, recipe.serving).told()
    except InputError as error:
        found["fault"] = str(error)
    return found


def example(ws: Workspace, shown: Fit | None) -> dict[str, Any] | None:
    """The list of one user by a fit with the LLM, and before it by the same recommender on the observed log alone.

    None without such a fit, or if it changed no list.
    """
    import ray

    if shown is None:
        return None
    recommender, variant = shown
    figures = read_figures(ws)
    after = next(one for one in figures if (one.recommender, one.variant) == shown)
    before = [one for one in figures if (one.recommender, one.variant) == (recommender, "observed")]
    if not before:
        return None
    found = ray.get(ray.remote(num_cpus=1)(before_and_after).remote(ws, before[0], after))
    return found and {"recommender": recommender, "variant": variant} | found


def code_commit() -> str | None:
    """The git commit of this code, with `-dirty` if tracked files differ from it. None outside of a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _augmentations(recipe: Recipe, ws: Workspace) -> dict[str, list[Place]]:
    """The published answers of each strategy, of all rounds and seeds."""
    if not recipe.augmented:
        return {}
    return {
        section.strategy: [ws / round_.at(f"augmentation/{section.strategy}") for round_ in rounds(recipe)]
        for section in recipe.augment
    }
