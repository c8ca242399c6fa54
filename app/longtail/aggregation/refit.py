"""`longtail refit`: what validation chose, fitted again on the whole log, for production.

Nothing is held out any more, so nothing is measured and nothing is chosen: the recommender is trained for as many epochs as
the validated fit, the same LLM is asked again with whole histories, and lists are fused as chosen. Every part is published
in `production/` by the stage that makes it in a run, so an interrupted refit goes on where it stopped. The last part is an
artefact of its own, which `read_artefact` prefers.
"""

from dataclasses import replace
from typing import Any

from longtail.aggregation.artefact import AGGREGATOR, MEANING, Artefact, read_evaluated
from longtail.augment.augment_stage import augment_strategy
from longtail.data.prepare_stage import prepare_known
from longtail.errors import InputError
from longtail.fusion.fuse_stage import fuse_sets
from longtail.recipe import Recipe
from longtail.recommenders.training.fits import Run, fits_in
from longtail.recommenders.training.train_stage import fit_runs
from longtail.rounds import Round, production_round
from longtail.schema import PRODUCTION
from longtail.variants import VARIANTS
from longtail.workspace import Workspace, read_manifest

AGAIN = "Run longtail run with this recipe first, or refit with the recipe.yaml of the workspace."
OF_THE_LLM = ("llm", "generator", "discriminator", "augment", "judge")


def refit(recipe: Recipe, ws: Workspace) -> None:
    """Publish `production/`, with the artefact that is served from then on.

    Raises InputError if there is no evaluated artefact, or if the recipe would fit something else than was evaluated.
    """
    chosen = read_evaluated(ws)
    chosen.check_named(recipe.serving)
    _check_recipe(recipe, ws, chosen)
    round_ = production_round(recipe, chosen.seed_index)
    run = _run(recipe, round_, chosen)
    prepare_known(recipe, ws, round_)
    for strategy in _strategies(chosen):
        augment_strategy(round_.seeded(recipe), ws, round_, recipe.strategies[strategy])
    # No seed changes the observed log, and a control is made of it too.
    fuse_sets(recipe, ws, replace(round_, seed_index=0), [run.variant], ["observed"])
    own_set = recipe.training_set_of(run.recommender, run.variant)
    fuse_sets(round_.seeded(recipe), ws, round_, [run.variant], [own_set])
    fit_runs(run.round.seeded(recipe), ws, [run])
    _publish(ws, chosen, round_, run)


def _run(recipe: Recipe, round_: Round, chosen: Artefact) -> Run:
    """The fit of the chosen recommender and variant."""
    for one in fits_in(recipe, round_):
        if (one.recommender, one.variant) == (chosen.recommender, chosen.variant):
            return one
    raise InputError(
        f"recommenders: {chosen.recommender} on {chosen.variant} was chosen, but the recipe does not fit it. {AGAIN}"
    )


def _strategies(chosen: Artefact) -> list[str]:
    """The strategies that are asked again: for the training set, and for the list."""
    return list(dict.fromkeys([*VARIANTS[chosen.variant].sources, *([chosen.list] if chosen.list else [])]))


def _publish(ws: Workspace, chosen: Artefact, round_: Round, run: Run) -> None:
    answers = round_.at(f"augmentation/{chosen.list}") if chosen.list else None
    places = {"data": round_.data, "fit": run.place, "answers": answers}
    made = [place for place in places.values() if place]
    evaluated = read_manifest(ws.require(AGGREGATOR))["fingerprint"]
    settings = {"refitted": evaluated}
    unit = ws.stage(PRODUCTION + AGGREGATOR, settings, [ws / place for place in made], MEANING)
    if unit.up_to_date:
        return
    with unit.publishing() as draft:
        made_of = dict(zip(made, unit.inputs, strict=True))
        replace(chosen, **places, made_of=made_of, refitted=evaluated).write(draft)


def _check_recipe(recipe: Recipe, ws: Workspace, chosen: Artefact) -> None:
    """Raise InputError if what the chosen fit and list are made of is set in another way than when they were evaluated."""
    evaluated = read_manifest(ws.require(AGGREGATOR))["recipe"]
    if evaluated is None:
        return  # evaluated by a program that has no recipe file
    now = recipe.model_dump(mode="json")
    for name in ("seed", "dataset", *(OF_THE_LLM if _strategies(chosen) else ())):
        _check_same(name, now[name], evaluated[name])
    own = ({**(one["recommenders"][chosen.recommender] or {}), "variants": None} for one in (now, evaluated))
    _check_same(f"recommenders.{chosen.recommender}", *own)


def _check_same(name: str, now: Any, evaluated: Any) -> None:
    if now == evaluated:
        return
    if isinstance(now, dict) and isinstance(evaluated, dict):
        for key in now.keys() | evaluated.keys():
            _check_same(f"{name}.{key}", now.get(key), evaluated.get(key))
    raise InputError(f"{name} = {now!r}, but it was evaluated with {evaluated!r}. {AGAIN}")
