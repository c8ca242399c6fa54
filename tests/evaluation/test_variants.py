"""Whatever a recipe trains or serves has its place, its words and its mark, and is held against the right control."""

from typing import get_args

from app.evaluation.plots import COLOURS, MARKERS
from app.evaluation.variants import CONTROL_OF, CONTROLS, LABELS, VARIANTS, contrasts, controls_of, label
from app.recipe import Recipe, Variant
from app.recommenders.runs import served_runs


def test_every_variant_of_a_recipe_is_known():
    assert set(get_args(Variant)) <= set(VARIANTS)
    augment = [{"strategy": "next_item"}, {"strategy": "ranking"}]
    tasks = {"next_item": 1, "ranking": 1}
    recipe = Recipe.model_validate({"name": "r", "augment": augment, "generator": {"tasks": tasks}})
    served = {run.variant for run in served_runs(recipe)}
    assert served == {"served", "served_ranking", "served_itemcf", "served_discriminated"}
    assert set(VARIANTS) == set(get_args(Variant)) | served
    assert len(set(VARIANTS)) == len(VARIANTS)


def test_every_variant_but_observed_can_be_drawn_and_told_apart():
    assert set(MARKERS) == set(VARIANTS) - {"observed"}
    assert len({(*mark, variant in CONTROLS) for variant, mark in MARKERS.items()}) == len(MARKERS)
    assert {kind for kind, _ in MARKERS.values()} == set(COLOURS)
    assert len({label(variant) for variant in VARIANTS}) == len(VARIANTS)
    assert set(LABELS) <= set(VARIANTS)


def test_controls_are_controls():
    assert set(CONTROL_OF.values()) <= set(CONTROLS)
    for variant, control in CONTROL_OF.items():
        assert variant not in CONTROLS and control in controls_of(variant)


def test_contrasts_are_with_observed_and_with_a_control_that_is_there():
    assert contrasts(["observed", "generated", "itemcf", "pairs"]) == [
        ("generated", "observed"),
        ("itemcf", "observed"),
        ("pairs", "observed"),
        ("generated", "itemcf"),
    ]
    assert contrasts(["observed"]) == []
