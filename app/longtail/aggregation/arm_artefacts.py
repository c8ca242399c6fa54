"""What each arm of an A/B test serves: the artefact of the workspace, with what the arm changes."""

from dataclasses import replace

from longtail.aggregation.artefact import Artefact, checked, read_artefact
from longtail.aggregation.choice import choose, read_figures, with_numbers
from longtail.aggregation.kinds import ALONE, Fusion
from longtail.errors import InputError
from longtail.recipe import DEFAULT_ARM, NO_LIST, Serving
from longtail.workspace import Workspace


def read_arms(ws: Workspace, serving: Serving) -> dict[str, Artefact]:
    """By the name of the arm, in the order of the recipe; without arms the artefact is the only one.

    An arm that changes how lists are fused takes the numbers of its kind that validation chose. An arm that names another
    recommender, variant or list takes what the evaluation has of it.

    Raises InputError if the workspace does not have what an arm names.
    """
    common = read_artefact(ws)
    common.check_named(serving)
    if not serving.arms:
        return {DEFAULT_ARM: common}
    return {name: _of_arm(ws, name, common, serving) for name in serving.arms}


def _of_arm(ws: Workspace, name: str, common: Artefact, serving: Serving) -> Artefact:
    own, changed = serving.of_arm(name), serving.arms[name].serving
    said = f"serving.arms.{name}"
    if "candidates" in changed and own.candidates > common.candidates:
        raise InputError(
            f"{said}: candidates = {own.candidates}, but {common.candidates} were evaluated. Set it to at most as many."
        )
    candidates = own.candidates if "candidates" in changed else common.candidates
    common = replace(common, candidates=candidates, named=own.named)
    if own.list == NO_LIST and _same_fit(own, common):
        made_of = {place: one for place, one in common.made_of.items() if place != common.answers}
        return replace(common, list=None, fusion=ALONE, kinds={}, answers=None, made_of=made_of)
    if common.list and own.list in (None, common.list) and _same_fit(own, common):
        return replace(common, fusion=_fusion(said, own, common))
    if common.refitted:
        raise InputError(
            f"{said} names another recommender, variant or list than longtail refit has fitted. Let arms differ in how"
            f" lists are fused, or remove {ws}/production to serve what was evaluated."
        )
    found = checked(ws, Artefact.of(choose(read_figures(ws), own), own))
    return replace(found, candidates=candidates)


def _same_fit(own: Serving, common: Artefact) -> bool:
    return own.recommender in (None, common.recommender) and own.variant in (None, common.variant)


def _fusion(said: str, own: Serving, common: Artefact) -> Fusion:
    """How the lists of the artefact are fused in an arm."""
    kind = own.kind or ("paper" if own.numbers else common.fusion.kind)
    if kind == common.fusion.kind and not own.numbers:
        return common.fusion
    if kind not in common.kinds:
        raise InputError(f"{said}: kind = {kind!r} was not evaluated. Evaluated: {', '.join(common.kinds)}.")
    fusion = common.kinds[kind].fusion
    if own.numbers:
        return with_numbers(fusion, own.numbers)
    if fusion.kind != kind:
        raise InputError(
            f"{said}: no numbers of kind {kind!r} meet the recipe's constraint on validation. Name another kind."
        )
    return fusion
