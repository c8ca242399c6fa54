"""Whatever a recipe trains or serves has its place, its words and its mark, and is held against the right control."""

from typing import get_args

import pytest

from longtail.recipe import Recipe
from longtail.recommenders.training.fits import list_runs, served_runs, stand_in_fit
from longtail.registry import recommender_spec, recommenders
from longtail.rounds import FIRST_ROUND, Round, rounds
from longtail.variants import (
    COLOURS,
    CONTROLS,
    LISTS,
    LLM_VARIANTS,
    VARIANTS,
    TrainedVariant,
    contrasts,
    controls_of,
    label,
    stand_ins,
)


def test_every_variant_of_a_recipe_is_known():
    assert set(get_args(TrainedVariant)) <= set(VARIANTS)
    augment = [{"strategy": "next_item"}, {"strategy": "ranking"}]
    tasks = {"next_item": 1, "ranking": 1}
    values = {"name": "r", "augment": augment, "generator": {"tasks": tasks}}
    recipe = Recipe.model_validate(values)
    served = {run.variant for run in served_runs(recipe, FIRST_ROUND)}
    lists = {"served", "served_discriminated", "served_ranking"}
    assert served == lists | {"served_itemcf", "log_list_itemcf", "served_own"}
    recipe = Recipe.model_validate(
        values | {"variants": [*recipe.variants, "text_order", "sequence", "walk"]}
    )
    served = {run.variant for run in served_runs(recipe, FIRST_ROUND)}
    alone = {run.variant for run in list_runs(recipe, FIRST_ROUND)}
    assert alone == {one.name for one in VARIANTS.values() if one.alone}
    assert set(VARIANTS) == set(get_args(TrainedVariant)) | served | alone
    assert all(one.name == name for name, one in VARIANTS.items())


def test_every_variant_but_observed_can_be_drawn_and_told_apart():
    drawn = [one for one in VARIANTS.values() if one.name != "observed" and not one.alone]
    assert all(one.mark for one in drawn)
    assert len({(one.colour, one.mark, one.is_control) for one in drawn}) == len(drawn)
    assert {one.colour for one in drawn} == set(COLOURS)
    assert len({label(variant) for variant in VARIANTS}) == len(VARIANTS)
    assert len({one.says for one in VARIANTS.values()}) == len(VARIANTS)
    assert all(bool(one.subject) == (one.kind == "served") for one in VARIANTS.values())


def test_every_variant_of_an_llm_has_a_control_that_is_made_of_as_much():
    assert {"observed", *LLM_VARIANTS, *LISTS, *CONTROLS} == set(VARIANTS)
    for name in (*LLM_VARIANTS, *LISTS):
        made, control = VARIANTS[name], VARIANTS[VARIANTS[name].control]
        assert controls_of(name)[0] == control.name
        assert (
            control.kind == {"llm": "control", "served": "served control", "list": "list control"}[made.kind]
        )
        assert made.stand_in is None and control.stand_in and control.control is None
        assert control.sources == made.sources[:1], "a control copies the amount of its own strategy"
    assert {one.name for one in VARIANTS.values() if one.stand_in} == set(CONTROLS)
    assert {one.name for one in VARIANTS.values() if one.fitted_on} == {
        one.name for one in VARIANTS.values() if one.kind.startswith("served") or one.alone
    }


def test_what_is_written_of_next_items_is_held_against_all_controls_of_its_kind():
    for name in ("generated", "discriminated", "without_hits", "refined"):
        assert controls_of(name) == ("itemcf", "popular", "random", "text_order", "sequence", "walk")
    assert controls_of("insertion") == ("insertion_itemcf",)
    lists = ("served_itemcf", "served_text_order", "served_sequence")
    assert controls_of("served") == lists
    both = tuple(f"log_list_{name}" for name in ("itemcf", "text_order", "sequence"))
    assert controls_of("served_discriminated") == lists + both
    assert controls_of("served_ranking") == ("served_own",)


def test_a_stand_in_is_a_recommender_that_a_recipe_can_name():
    assert {one.by for one in VARIANTS.values()} - {None} <= set(recommenders())
    for one in VARIANTS.values():
        assert bool(one.by) == (one.stand_in in ("best", "judged", "sampled", "picked"))
        assert not one.uses_itemcf or one.is_control
    assert stand_ins(["observed", "itemcf", "sequence", "text_order", "served_sequence"]) == (
        "sasrec",
        "text_order",
    )


def test_a_stand_in_has_the_settings_of_its_recommender_and_another_seed():
    """What no seed changes is fitted once. A served control of it is there if its control for the log is."""
    values = {"name": "r", "seed": 3, "variants": ["observed", "sequence", "text_order"]}
    values |= {"recommenders": {"sasrec": {"dim": 8, "judge": {"keep": 2}}}, "evaluation": {"seeds": 2}}
    recipe, second = Recipe.model_validate(values), Round(1, final=True)
    sequence, text = (stand_in_fit(recipe, second, name) for name in ("sasrec", "text_order"))
    assert sequence.place == "seed-1/final/stand_ins/sasrec" and text.place == "final/stand_ins/text_order"
    assert sequence.section(recipe).dim == 8 and sequence.section(recipe).judge == {}
    assert sequence.seed(second.seeded(recipe)) not in range(3, 3 + 2)
    assert text.section(recipe) == recommender_spec("text_order").settings()
    served = {run.variant: run.proposer for run in served_runs(recipe, second)}
    assert served == {
        "served": None,
        "served_itemcf": None,
        "served_text_order": text,
        "served_sequence": sequence,
    }


def test_a_ranked_list_is_fused_with_its_own_recommender_alone():
    augment = [{"strategy": "ranking", "recommender": "swing"}]
    values = {"name": "r", "augment": augment, "generator": {"tasks": {"ranking": 1}}}
    values |= {"recommenders": {"itemcf": {}, "swing": {}, "bpr": {}}, "evaluation": {"seeds": 2}}
    recipe = Recipe.model_validate(values | {"variants": ["observed"]})
    assert (
        served_runs(recipe, FIRST_ROUND) == []
    )  # nobody is asked where nothing but the observed log is wanted
    values["augment"] = [{"strategy": "next_item"}, *augment]
    values["generator"] = {"tasks": {"ranking": 1, "next_item": 1}}
    recipe = Recipe.model_validate(values | {"variants": ["observed", "generated"]})
    found = served_runs(recipe, FIRST_ROUND)
    of_lists = [run for run in found if run.strategy == "ranking"]
    assert [(run.recommender, run.variant, run.stand_in, run.fit.variant) for run in of_lists] == [
        ("swing", "served_ranking", None, "observed"),
        ("swing", "served_own", "own", "observed"),
    ]
    others = {(run.recommender, run.fit.seed_index, run.variant) for run in found if run not in of_lists}
    fits = {("itemcf", 0), ("swing", 0), ("bpr", 0)}
    assert others == {(*fit, variant) for fit in fits for variant in ("served", "served_itemcf")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recommenders": {"swing": {}}}, "best items of itemcf again, which recommenders does not have"),
        (
            {"serving": {"list": "ranking", "recommender": "swing"}},
            "best items of itemcf, serving.recommender is swing",
        ),
    ],
)
def test_a_list_of_another_recommender_is_refused(changes, said):
    values = {"name": "r", "augment": [{"strategy": "ranking"}], "generator": {"tasks": {"ranking": 1}}}
    values |= {"variants": ["observed"]}
    Recipe.model_validate(values)
    with pytest.raises(ValueError, match=said):
        Recipe.model_validate(values | changes)


def test_a_list_alone_is_evaluated_once_and_stands_beside_every_recommender_that_it_may_serve():
    augment = [{"strategy": "next_item"}, {"strategy": "ranking", "recommender": "swing"}]
    values = {"name": "r", "augment": augment, "variants": ["observed", "generated"]}
    values |= {"generator": {"tasks": {"ranking": 1, "next_item": 1}}, "evaluation": {"seeds": 2}}
    recipe = Recipe.model_validate(values | {"recommenders": {"itemcf": {}, "swing": {}, "bpr": {}}})
    found = [run for round_ in rounds(recipe) if round_.tests for run in list_runs(recipe, round_)]
    assert [(run.variant, run.recommender, run.seed_index) for run in found] == [
        (variant, recommender, seed)
        for seed in (0, 1)
        for variant, recommender in (
            ("list", "itemcf"),
            ("list_ranking", "swing"),
            ("list_itemcf", "itemcf"),
            ("list_own", "swing"),
        )
    ]
    beside = {run.variant: [name for name in ("itemcf", "swing", "bpr") if run.beside(name)] for run in found}
    assert beside["list"] == beside["list_itemcf"] == ["itemcf", "swing", "bpr"]
    assert beside["list_ranking"] == beside["list_own"] == ["swing"]
    fused = served_runs(recipe, rounds(recipe)[1])[0]
    assert (fused.recommender, fused.beside("itemcf"), fused.beside("swing")) == ("itemcf", True, False)
    unserved = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"served": False})}
    )
    assert list_runs(unserved, FIRST_ROUND) == []


def test_contrasts_are_with_observed_and_with_all_controls_that_are_there():
    names = [
        "observed",
        "generated",
        "itemcf",
        "random",
        "pairs",
        "cold_pairs_shuffled",
        "list",
        "list_itemcf",
    ]
    assert contrasts(names) == [
        ("generated", "observed"),
        ("itemcf", "observed"),
        ("random", "observed"),
        ("pairs", "observed"),
        ("cold_pairs_shuffled", "observed"),
        ("list", "observed"),
        ("list_itemcf", "observed"),
        ("generated", "itemcf"),
        ("generated", "random"),
        ("list", "list_itemcf"),
    ]
    assert contrasts(["observed"]) == []
