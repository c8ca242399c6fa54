"""What is served is the best on validation of what the recipe leaves open; what it names is served; else it is refused."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.aggregation.choice import (
    FIGURES,
    Figure,
    Kind,
    best_free,
    choose,
    read_figures,
    write_figures,
)
from longtail.aggregation.kinds import Paper, Uniform
from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.workspace import Workspace

FUSIONS = {
    "served": ("observed", "next_item"),
    "served_ranking": ("observed", "ranking"),
    "served_discriminated": ("discriminated", "next_item"),
    "served_itemcf": ("observed", "next_item"),
}
CONTROLS = ("popular", "served_itemcf")
VARIANTS = ("observed", "discriminated", "popular", *FUSIONS)


def figure(recommender: str, variant: str, ndcg: float | None = 0.1, seed: int = 0, **changes) -> Figure:
    trained_on, listed = FUSIONS.get(variant, (variant, None))
    fusion = Paper(0.5, 1.0) if listed else None
    given = {
        "recommender": recommender,
        "variant": variant,
        "trained_on": trained_on,
        "seed_index": seed,
        "control": variant in CONTROLS,
        "list": listed,
        "fusion": fusion,
        "kinds": {"paper": Kind(fusion, ndcg)} if listed else {},
        "candidates": 50,
        "users": 0 if ndcg is None else 9,
        "ndcg": ndcg,
        "free": ndcg,
        "lost": {},
        "data": "data",
        "fit": f"recommenders/{trained_on}/{recommender}-{seed}",
        "answers": listed and f"augmentation/{listed}",
        "made_of": {},
    }
    return Figure(**given | changes)


@given(
    st.lists(
        st.tuples(st.sampled_from(["bpr", "swing"]), st.sampled_from(VARIANTS), st.integers(0, 4)),
        min_size=1,
        max_size=12,
        unique_by=lambda one: one[:2],
    )
)
def test_the_best_is_chosen_the_first_of_equals_and_never_a_control(drawn):
    figures = [figure(name, variant, ndcg / 8) for name, variant, ndcg in drawn]
    allowed = [one for one in figures if not one.control]
    if not allowed:
        with pytest.raises(InputError, match="longtail evaluate"):
            choose(figures, Serving())
        return
    chosen = choose(figures, Serving())
    assert chosen == next(one for one in allowed if one.ndcg == max(other.ndcg for other in allowed))


def test_seeds_are_averaged_then_the_best_of_them_is_taken():
    lucky = [figure("bpr", "observed", ndcg, seed) for seed, ndcg in enumerate((0.1, 0.9, 0.1))]
    steady = [figure("swing", "observed", ndcg, seed) for seed, ndcg in enumerate((0.4, 0.5, 0.5))]
    assert choose([*lucky, *steady], Serving()) == steady[1]


def test_what_loses_a_slice_is_not_chosen_unless_the_recipe_names_it():
    plain, lossy = figure("bpr", "observed", 0.2), figure("bpr", "discriminated", 0.4, lost={"tail": -0.1})
    fused = figure("bpr", "served_discriminated", 0.5, lost={"tail": -0.1})
    kept = figure("swing", "discriminated", 0.3)
    assert choose([plain, lossy, fused, kept], Serving()) == kept
    assert choose([plain, lossy, fused], Serving()) == plain, "the observed log loses nothing against itself"
    assert choose([plain, lossy, kept], Serving(recommender="bpr", variant="discriminated")) == lossy
    assert best_free([plain, lossy, fused, kept]) == fused


def test_without_a_constraint_every_fusion_has_its_best_figure():
    """Of what was not chosen for a fusion the NDCG is told, of the same figure."""
    held, plain = figure("bpr", "served", 0.2, free=0.5), figure("swing", "observed", 0.3)
    assert choose([held, plain], Serving()) == plain
    assert best_free([held, plain]) == replace(held, ndcg=0.5)


FIGURES_OF_ALL = [
    figure(name, variant, place / 100)
    for place, (name, variant) in enumerate(itertools.product(("bpr", "swing"), VARIANTS))
]


@pytest.mark.parametrize(
    ("serving", "expected"),
    [
        ({}, ("swing", "served_discriminated")),
        ({"recommender": "bpr"}, ("bpr", "served_discriminated")),
        ({"variant": "observed"}, ("swing", "served_ranking")),
        ({"list": "next_item", "variant": "observed"}, ("swing", "served")),
        ({"list": "none", "variant": "observed"}, ("swing", "observed")),
        ({"recommender": "bpr", "variant": "popular"}, ("bpr", "popular")),
    ],
)
def test_what_is_named_is_served_and_validation_chooses_the_rest(serving, expected):
    chosen = choose(FIGURES_OF_ALL, Serving(**serving))
    assert (chosen.recommender, chosen.variant) == expected


def test_a_named_fusion_replaces_the_one_of_validation():
    chosen = choose(FIGURES_OF_ALL, Serving(recommender="bpr", variant="observed", alpha_1=0.0))
    assert (chosen.variant, chosen.fusion) == ("served_ranking", Paper(0.0, 1.0)), "0 is a value, not nothing"
    plain = [one for one in FIGURES_OF_ALL if not one.list]
    with pytest.raises(InputError, match="serving.alpha_1 = 0.3: nothing of the kind was evaluated"):
        choose(plain, Serving(alpha_1=0.3))


def test_without_validation_items_the_recipe_must_say():
    unknown = [figure(one.recommender, one.variant, None) for one in FIGURES_OF_ALL]
    for serving in ({}, {"recommender": "bpr"}, {"variant": "observed"}):
        with pytest.raises(InputError, match="no user has a validation item"):
            choose(unknown, Serving(**serving))
    named = {"recommender": "swing", "variant": "observed"}
    assert choose(unknown, Serving(**named)).variant == "observed", "the recommender alone"
    assert choose(unknown, Serving(**named, alpha_1=0.5)).variant == "served"


def test_a_list_is_not_fused_with_more_candidates_than_were_measured():
    with pytest.raises(InputError, match="serving.candidates = 80"):
        choose(FIGURES_OF_ALL, Serving(candidates=80))
    assert choose(FIGURES_OF_ALL, Serving(candidates=20)).candidates == 50
    assert choose(FIGURES_OF_ALL[:1], Serving(candidates=80)).list is None


def test_a_named_kind_is_chosen_among_with_its_own_figure():
    """Of two fits the one is better with the fusion that validation chose, the other one in the kind that is named."""
    kinds = {"paper": Kind(Paper(0.5, 1.0), 0.4), "uniform": Kind(Uniform(0.3), 0.2)}
    first = figure("bpr", "served", 0.4, kinds=kinds)
    second = figure("swing", "served", 0.3, kinds=kinds | {"uniform": Kind(Uniform(0.7), 0.3)})
    assert choose([first, second], Serving()) == first
    chosen = choose([first, second], Serving(kind="uniform"))
    assert (chosen.recommender, chosen.fusion, chosen.ndcg) == ("swing", Uniform(0.7), 0.3)
    with pytest.raises(InputError, match="serving.kind = 'inject': nothing of the kind was evaluated"):
        choose([first, second, figure("bpr", "observed", 0.9)], Serving(kind="inject"))


def test_a_number_of_the_paper_replaces_that_of_its_best_fusion():
    kinds = {"paper": Kind(Paper(0.5, 0.1, "score"), 0.2), "uniform": Kind(Uniform(0.3), 0.4)}
    own = figure("bpr", "served", 0.4, fusion=Uniform(0.3), kinds=kinds)
    assert choose([own], Serving(alpha_1=0.9)).fusion == Paper(0.9, 0.1, "score")
    alone = figure("bpr", "served", 0.4, kinds={"paper": Kind(Uniform(0.0), 0.4)})
    assert choose([alone], Serving(alpha_1=0.9)).fusion == Paper(0.9, 1.0), "the constraint left it alone"


def test_figures_are_read_as_they_were_written(tmp_path):
    ws = Workspace(str(tmp_path))
    with pytest.raises(InputError, match="longtail evaluate"):
        read_figures(ws)
    figures = [figure("bpr", "observed", made_of={"data": "1f"}), figure("swing", "served", None)]
    with ws.stage(FIGURES, []).publishing() as draft:
        write_figures(figures, draft)
    assert read_figures(ws) == figures
