"""Validation figures of all fits, alone and fused with a list: from these `aggregation.choice` chooses what is served."""

from longtail.aggregation.choice import FIGURES, Figure, write_figures
from longtail.evaluation.evaluated_runs import evaluated, first_of, inputs_of, is_alone
from longtail.evaluation.lost_slices import Lost, lost_slices
from longtail.evaluation.served_validation import chosen_in, kinds_in
from longtail.recipe import Recipe
from longtail.recommenders.training.fits import Run, ServedRun
from longtail.runtime.cluster import connect
from longtail.variants import CONTROLS, VARIANTS
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

MEANING = 4
"""The version of the figures. Raise it if equal evaluations give other figures."""
VALIDATION = "validation"
"""The folder, in the evaluation of a fit in the round that chooses, with the ranks of its validation items."""


def publish_figures(recipe: Recipe, ws: Workspace) -> None:
    """Publish the figures.

    A variant that uses the answer key has none, because nothing may be chosen from it.
    """
    found = [run for run in evaluated(recipe) if not is_alone(run) and not VARIANTS[run.variant].hits_removed]
    settings = {
        "evaluations": [run.evaluation for run in found],
        "constraint": recipe.constraint.model_dump(),
    }
    unit = ws.stage(FIGURES, settings, [ws / run.evaluation for run in found], MEANING)
    if not unit.up_to_date:
        ws.claim()
        with unit.publishing() as draft:
            lost = _lost(recipe, ws, [run for run in found if isinstance(run, Run)])
            write_figures([_figure(ws, run, lost) for run in found], draft)


def _lost(recipe: Recipe, ws: Workspace, fits: list[Run]) -> dict[str, dict[str, Lost]]:
    """By recommender and variant, the slices of the constraint that it loses on validation."""
    if not recipe.constraint.slices:
        return {}
    connect(recipe.resources)
    places: dict[str, dict[str, list[Place]]] = {}
    for run in fits:
        own = places.setdefault(run.recommender, {}).setdefault(run.variant, [])
        own.append(ws / first_of(run) / VALIDATION)
    return lost_slices(places, ws / "data", recipe.constraint)


def _figure(ws: Workspace, run: Run | ServedRun, lost: dict[str, dict[str, Lost]]) -> Figure:
    manifest = read_manifest(ws / run.evaluation)
    counts, settings, served = manifest["counts"], manifest["settings"], isinstance(run, ServedRun)
    chosen, (data, fit, *listed) = counts.get("serving", {}), inputs_of(run)
    trained_on = run.fit.variant if served else run.variant
    return Figure(
        recommender=run.recommender,
        variant=run.variant,
        trained_on=trained_on,
        seed_index=run.seed_index,
        control=run.variant in CONTROLS,
        list=run.strategy if served else None,
        fusion=chosen_in(counts) if served else None,
        kinds=kinds_in(counts) if served else {},
        candidates=max(settings.get("candidates", 0), settings["depth"]),
        **counts["validation"],
        free=chosen.get("validation_ndcg_free", counts["validation"]["ndcg"]),
        lost=lost.get(run.recommender, {}).get(trained_on, {}),
        data=data,
        fit=fit,
        answers=listed[0] if listed else None,
        made_of=dict(zip(inputs_of(run), manifest["inputs"], strict=False)),
    )
