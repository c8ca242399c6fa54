"""Every kind of fusion ranks as its definition says, and tells its numbers so that serving reads the same fusion."""

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.aggregation.formulas import BUCKETS, Sparsity, Union
from longtail.aggregation.kinds import (
    ALONE,
    KINDS,
    LIST,
    Bucketed,
    Fusion,
    Inject,
    Paper,
    Uniform,
    read_fusion,
)
from longtail.recipe import FusionKind

SPARSITY = Sparsity(2, 40, (3, 5, 9, 20))
shares = st.floats(0, 1)
lists = st.lists(st.integers(0, 40), unique=True, max_size=15)
utilities = st.sampled_from(["rank", "score"])
injects = st.builds(Inject, st.integers(1, 9), st.integers(1, 4))
fusions = st.one_of(
    st.builds(Paper, shares, shares, utilities),
    st.builds(Uniform, shares, utilities),
    st.builds(Bucketed, st.tuples(*[shares] * BUCKETS), utilities),
    injects,
)


def union_of(*rows: tuple[list[int], list[int]]) -> Union:
    """The lists of each user; scores fall by place."""
    sides = []
    for side in (0, 1):
        width = max(len(row[side]) for row in rows)
        items, scores = np.full((len(rows), width), -1, np.int32), np.zeros((len(rows), width), np.float32)
        for number, row in enumerate(rows):
            items[number, : len(row[side])] = row[side]
            scores[number, : len(row[side])] = np.linspace(1, 0.1, len(row[side]))
        sides.append((items, scores))
    return Union.of(*sides)


def ranked(fusion: Fusion, *rows: tuple[list[int], list[int]], interactions: int = 4) -> list[list[int]]:
    union = union_of(*rows)
    utility = fusion.final_utility(union, fusion.alpha(np.full(len(rows), interactions), SPARSITY))
    best = np.take_along_axis(union.items, union.best(utility, 99), axis=1)
    return [[item for item in row if item >= 0] for row in best.tolist()]


def injected(recommender: list[int], llm: list[int], first: int, every: int) -> list[int]:
    """By hand: two lists are laid out on numbered places, and each item is taken where it stands first."""
    places = {first + number * every: item for number, item in enumerate(llm)}
    left, place = list(recommender), 1
    while left:
        if place not in places:
            places[place] = left.pop(0)
        place += 1
    return list(dict.fromkeys(places[place] for place in sorted(places)))


def test_inject_by_hand() -> None:
    """The list has places 2, 4 and 6. 12 stands third in the recommender's list, on place 5, but has place 2."""
    assert ranked(Inject(2, 2), ([10, 11, 12, 13], [12, 20, 21])) == [[10, 12, 11, 20, 21, 13]]
    assert ranked(Inject(2, 1), ([10, 11], [20, 21])) == [[10, 20, 21, 11]]
    assert ranked(Inject(1, 3), ([10, 11, 12], [20, 21])) == [[20, 10, 11, 21, 12]]
    assert ranked(Inject(5, 2), ([10], [20, 21])) == [[10, 20, 21]], (
        "places stay in order if the recommender ends"
    )


@given(st.lists(st.tuples(lists, lists), min_size=1, max_size=5), injects)
def test_inject_against_numbered_places(rows, fusion: Inject) -> None:
    assert ranked(fusion, *rows) == [injected(*row, fusion.first, fusion.every) for row in rows]


@given(lists, lists, st.integers(1, 9), st.integers(1, 4))
def test_what_stands_before_the_first_injected_place_is_the_recommenders(own, llm, first, every) -> None:
    """And no item of the list comes later than its place."""
    (found,) = ranked(Inject(first, every), (own, llm))
    assert (
        found[: first - 1][: len(own)]
        == (own + [item for item in llm if item not in own])[: first - 1][: len(own)]
    )
    for number, item in enumerate(llm):
        assert found.index(item) < first + number * every


@given(lists, lists)
def test_injected_from_the_first_place_on_it_is_the_list(own, llm) -> None:
    (found,) = ranked(Inject(1, 1), (own, llm))
    assert [found] == ranked(LIST, (own, llm)) and found[: len(llm)] == llm


@given(lists, lists, st.integers(9, 60))
def test_injected_after_the_recommenders_last_place_it_changes_nothing(own, llm, first) -> None:
    first += len(own)
    assert ranked(Inject(first, 2), (own, llm)) == ranked(ALONE, (own, llm))


@given(lists, fusions)
def test_without_a_list_every_kind_is_the_recommender_alone(own: list[int], fusion: Fusion) -> None:
    """Weight 1 of no list excepted: serving gives a user without one the weight 0."""
    union = union_of((own, []))
    best = union.best(fusion.final_utility(union, np.zeros(1)), 99)
    assert union.items[0, best[0]].tolist() == own


@given(lists, lists, fusions, st.integers(0, 60))
def test_every_kind_ranks_each_item_of_both_lists_once(own, llm, fusion: Fusion, asked: int) -> None:
    (found,) = ranked(fusion, (own, llm), interactions=asked)
    assert sorted(found) == sorted({*own, *llm})


@given(fusions, st.lists(st.integers(0, 99), max_size=9))
def test_alpha_is_a_share_for_every_history(fusion: Fusion, lengths: list[int]) -> None:
    alpha = fusion.alpha(np.array(lengths, np.int64), SPARSITY)
    assert alpha.shape == (len(lengths),) and np.all((alpha >= 0) & (alpha <= 1))


@given(st.tuples(*[shares] * BUCKETS), st.lists(st.integers(0, 99), max_size=9))
def test_a_bucket_has_its_weight(weights, lengths: list[int]) -> None:
    alpha = Bucketed(weights).alpha(np.array(lengths, np.int64), SPARSITY)
    assert alpha.tolist() == [weights[sum(edge < one for edge in SPARSITY.edges)] for one in lengths]


@given(shares, utilities, lists, lists, st.integers(0, 60))
def test_equal_buckets_are_uniform(weight, utility, own, llm, asked) -> None:
    equal = Bucketed((weight,) * BUCKETS, utility)
    uniform = Uniform(weight, utility)
    assert ranked(equal, (own, llm), interactions=asked) == ranked(uniform, (own, llm), interactions=asked)


@given(fusions)
def test_a_fusion_is_read_as_it_was_told(fusion: Fusion) -> None:
    assert read_fusion(json.loads(json.dumps(fusion.told()))) == fusion


def test_the_recipe_knows_the_kinds() -> None:
    assert set(KINDS) == set(get_args(FusionKind))


def test_every_bucket_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="5 weights are needed, got 2"):
        Bucketed((0.1, 0.2))
