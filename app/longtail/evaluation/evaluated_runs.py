"""What is evaluated: the fits, the same fits fused with a list, and lists alone; with what settings, from what places."""

from dataclasses import replace
from typing import Any

from longtail.aggregation.kinds import LIST
from longtail.evaluation.fusion_grid import GRID
from longtail.evaluation.list_bias import EXPOSURE_K
from longtail.evaluation.ranks import Protocol
from longtail.recipe import Recipe
from longtail.recommenders.training.fits import Run, ServedRun, list_runs, runs, served_runs
from longtail.rounds import Round, first_round, rounds
from longtail.variants import VARIANTS
from longtail.workspace import Workspace, fingerprint
from longtail.workspace.place import Place


def evaluated_in(recipe: Recipe, round_: Round) -> list[Run | ServedRun]:
    """All runs of a round that are evaluated: its fits, the same fits fused with a list as in serving, and, if the round
    ranks the test, the lists alone. Nothing is chosen for these.
    """
    alone = list_runs(recipe, round_) if round_.tests else []
    return [*runs(recipe, round_), *served_runs(recipe, round_), *alone]


def evaluated(recipe: Recipe) -> list[Run | ServedRun]:
    """All runs whose test items are ranked, of all seeds: the fits, then those fused with a list, then the lists alone."""
    last = [round_ for round_ in rounds(recipe) if round_.tests]
    return [run for kind in (runs, served_runs, list_runs) for round_ in last for run in kind(recipe, round_)]


def evaluations(recommender: str, recipe: Recipe, ws: Workspace) -> dict[str, list[Place]]:
    """Where the test items are ranked, for each variant that stands among the figures of a recommender: a place per pair."""
    found: dict[str, list[Place]] = {}
    for run in evaluated(recipe):
        beside = run.beside(recommender) if isinstance(run, ServedRun) else run.recommender == recommender
        if beside:
            found.setdefault(run.variant, []).append(ws / run.evaluation)
    return found


def is_alone(run: Run | ServedRun) -> bool:
    """Whether it is a list alone: not fused, so not chosen on validation, and never served."""
    return isinstance(run, ServedRun) and run.alone


def has_kinds(run: Run | ServedRun) -> bool:
    """Whether it has a list of the LLM that may be fused in different kinds."""
    return isinstance(run, ServedRun) and VARIANTS[run.variant].kind == "served"


def inputs_of(run: Run | ServedRun) -> list[str]:
    """The places that it reads: the histories and the fitted recommender, then those of a list."""
    found = [run.round.data, run.place]
    if isinstance(run, ServedRun):
        found.append(run.round.at(f"augmentation/{run.strategy}"))
        found += [run.proposer.place] if run.proposer else []
    return found


def first_of(run: Run | ServedRun) -> str:
    """The evaluation of the same run in the round that chooses."""
    return replace(run, round=first_round(run.round)).evaluation


def ranking_settings(recipe: Recipe, run: Run | ServedRun) -> dict[str, Any]:
    """The settings of one evaluation that its manifest records."""
    protocol = protocol_of(recipe)
    sampled = {"negatives": protocol.negatives, "seed": protocol.seed} if protocol.negatives else None
    settings = {"depth": protocol.depth, "sampled": sampled, "tests": run.round.tests}
    if isinstance(run, ServedRun):
        listed = {"best": recipe.itemcf.of_fit(), None: run.strategy}.get(run.stand_in, run.stand_in)
        if run.stand_in == "judged":
            listed = {"itemcf": recipe.itemcf.of_fit(), "judge": recipe.judge.model_dump(exclude={"weight"})}
        settings["list"] = listed
        settings["candidates"] = 0 if run.alone else recipe.serving.candidates
        if not run.alone:
            settings["constraint"] = recipe.constraint.model_dump()
        if recipe.evaluation.kinds and run.round.tests and has_kinds(run):
            settings["kinds"] = True
        settings["choices"] = fingerprint([one.told() for one in ([LIST] if run.alone else GRID)])
    return settings


def protocol_of(recipe: Recipe) -> Protocol:
    """How the test items of a recipe are ranked."""
    asked = recipe.evaluation
    return Protocol(max(EXPOSURE_K, *asked.ks), negatives=asked.sampled_negatives, seed=recipe.seed)
