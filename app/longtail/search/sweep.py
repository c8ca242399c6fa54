"""The sweep: the effect of the judge's settings on each recommender, on validation, from one ledger, without LLM
calls.

First each axis is moved alone around the recipe's judge. This gives the curves of LLM-I2I (arXiv 2512.21595, figures
on the amount of synthetic data and on the required confidence): with more data, recall first rises and then falls.
Then the axes are searched in turn, each from the best values of the axes before. Only this search chooses, and every
control of `sweep.controls` gets the same one, so that a tuned variant is not compared with an untuned control. A
control copies the amounts that the LLM has under the judge of its point. Best always means the highest NDCG@10 in the
slice that the sweep aims at, of the points that meet the recipe's constraint: no point that loses a slice against the
observed log is chosen, and if every point does, nothing is added. The validation figures of the best setting are
optimistic, because it was chosen by them: only the test items show its effect.
"""

import logging
from typing import Any

import yaml

from longtail.augment.judge import SCORES
from longtail.errors import InputError
from longtail.recipe import Judge, Recipe
from longtail.recommenders.trained_section import TrainedSection
from longtail.runtime.cluster import connect
from longtail.search.frontier import draw_frontier
from longtail.search.sweep_plots import draw
from longtail.search.sweep_points import Point, Points, capped, stand_in_places
from longtail.search.sweep_search import AXES, Search, aim
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

MEANING = 4
"""The version of this search's output. Raise it if equal answers and settings give different results."""


def sweep(recipe: Recipe, ws: Workspace, only: str | None = None) -> dict[str, Place]:
    """Publish `sweep/<recommender>` for each recommender of the recipe, or only for the one in `only`.

    It has `points.parquet`, `curves.png`, `frontier.png` and `best.yaml`, the part of a recipe that sets the best judge.
    Returns these places, by recommender. Raises InputError if a recommender is not fitted on `discriminated`, if the
    workspace has no answers of next_item, and if no user has a validation item.
    """
    names = _names(recipe, only)
    stand_ins = {place for control in recipe.sweep.controls for place in stand_in_places(recipe, control)}
    inputs = [ws.require(place) for place in ("data", "augmentation/next_item", *sorted(stand_ins))]
    if not read_manifest(inputs[0])["counts"]["valid"]:
        raise InputError(f"{ws}: no user has a validation item to sweep on. Set dataset.valid_share above 0.")
    judged = read_manifest(inputs[1])["counts"]["judge_questions"] > 0
    return {name: _swept(recipe, ws, name, inputs, judged) for name in names}


def _names(recipe: Recipe, only: str | None) -> list[str]:
    chosen = recipe.recommenders
    if only is not None and only not in chosen:
        raise InputError(f"--recommender {only}: the recipe has {', '.join(chosen)}.")
    names = [only] if only else list(chosen)
    fitted = [name for name in names if "discriminated" in (chosen[name].variants or recipe.variants)]
    if not fitted:
        raise InputError(
            f"{only or 'the recipe'}: not fitted on the variant 'discriminated', whose judge is swept. Add it to variants."
        )
    return fitted


def _swept(recipe: Recipe, ws: Workspace, name: str, inputs: list[Place], judged: bool) -> Place:
    """Search and publish, if the published result is not up to date."""
    axes = _axes(recipe, judged)
    settings = {
        "axes": axes,
        "slice": recipe.sweep.slice,
        "constraint": recipe.constraint.model_dump(),
        "judges": [recipe.judge.model_dump(), recipe.judge_of(name).model_dump()],
        "controls": {one: recipe.judge_of(name, one).model_dump() for one in recipe.sweep.controls},
        "section": capped(recipe, name).of_fit(),
        "itemcf": recipe.itemcf.of_fit(),
        "seed": recipe.seed,
    }
    stage = ws.stage(f"sweep/{name}", settings, inputs, MEANING)
    if not stage.up_to_date:
        ws.claim()
        connect(recipe.resources)
        with stage.publishing() as draft:
            points = Points(recipe, ws, name)
            points.check()
            starts = {one: recipe.judge_of(name, one) for one in recipe.sweep.controls}
            search = Search(
                points, recipe.judge_of(name), axes, recipe.sweep.slice, starts, recipe.constraint
            )
            trained = isinstance(recipe.recommenders[name], TrainedSection)
            best, controls = search.run(near=trained)
            control = max(controls, key=aim)
            table = search.table(best, control)
            (draft / "points.parquet").write_table(table)
            (draft / "curves.png").write_bytes(draw(table, name))
            (draft / "frontier.png").write_bytes(
                draw_frontier(search.frontier(best), name, recipe.constraint)
            )
            (draft / "best.yaml").write_bytes(_fragment(recipe, name, best, controls).encode())
            stage.counts = {"points": len(search.points.known)} | search.summary(best, control)
    return stage.place


def _axes(recipe: Recipe, judged: bool) -> dict[str, list[Any]]:
    """The values of each axis. Blends with P(Yes) are left out if no discriminator was asked."""
    axes = {name: list(getattr(recipe.sweep, name)) for name in AXES}
    if not judged:
        axes["blend"] = [blend for blend in axes["blend"] if not blend[SCORES.index("yes_no")]]
        if len(axes["blend"]) < len(recipe.sweep.blend):
            log.info("sweep.blend: blends with yes_no are left out, because no discriminator was asked")
    return axes


def _fragment(recipe: Recipe, name: str, best: Point, controls: list[Point]) -> str:
    """The best judge, and those of the controls, as YAML to paste into the recipe: what is different from the recipe's
    judge, and from the best one. If the best is to add nothing, the recommender is fitted on the observed log alone. A
    control for which that is best has no values of its own.
    """
    if best.setting.judge is None:
        return yaml.safe_dump({"recommenders": {name: {"variants": ["observed"]}}}, sort_keys=False)
    section = {"judge": _changes(recipe.judge, best.setting.judge)}
    judged = [one.setting for one in controls if one.setting.judge]
    own = {one.variant: _changes(best.setting.judge, one.judge) for one in judged}
    if changed := {control: changes for control, changes in own.items() if changes}:
        section["controls"] = changed
    return yaml.safe_dump({"recommenders": {name: section}}, sort_keys=False)


def _changes(before: Judge, after: Judge) -> dict[str, Any]:
    own = before.model_dump()
    return {key: value for key, value in after.model_dump().items() if value != own[key]}
