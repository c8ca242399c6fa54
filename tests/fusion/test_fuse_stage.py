"""Fusion: observed first and as it was, the generated behind it with the weight of the judge, and every variant of next_item
adds as much of each item slice to a user as the others."""

import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.catalogue import SLICES
from longtail.fusion.amounts import counted
from longtail.fusion.chosen import Chosen
from longtail.fusion.controls import Best, Control, Drawn, Picked, Sampled
from longtail.fusion.fuse_stage import fused_rows, missing
from longtail.recipe import Recipe
from longtail.recommenders.interactions import Histories, Interactions
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.models.sasrec_model import SASRec as SASRecModel
from longtail.schema import FUSED, STRENGTHS
from tests.recommenders.conftest import clusters

N_ITEMS, WEIGHT = 24, 0.25
ITEMCF = ItemCF("itemcf", ItemCFSection()).fit(clusters(n_items=N_ITEMS))
POOL = np.arange(N_ITEMS, dtype=np.int32)
CODES = np.arange(N_ITEMS) // 2 % len(SLICES)


def control_of(variant: str, seed: int) -> Control | None:
    return {
        "random": Drawn(np.ones(N_ITEMS), seed),
        "popular": Drawn(np.arange(N_ITEMS) % 5 + 0.0, seed),
        "itemcf": Best(ITEMCF),
        "id_list_itemcf": Sampled(ITEMCF, 0.8, 0.9, seed),
        "insertion_itemcf": Picked(ITEMCF, POOL, 10, seed),
    }.get(variant)


CONTROLS = ("random", "popular", "itemcf", "id_list_itemcf", "insertion_itemcf")


def chosen_of(added: list, dropped: list) -> Chosen:
    rows = Histories.of(added)
    return Chosen(rows, rows, Histories.of(dropped), CODES)


@st.composite
def stores(draw) -> tuple[pa.Table, Chosen]:
    """Some users' histories, in no order, and what was chosen for all: nothing that they know, and no item twice. It may be
    held out.
    """
    n = draw(st.integers(1, 5))
    rows, added, dropped = [], [[] for _ in range(8)], [[] for _ in range(8)]
    for user in draw(st.permutations(range(8)))[:n]:
        items = draw(st.permutations(range(N_ITEMS)))
        train, length = draw(st.integers(0, 6)), draw(st.integers(6, 9))
        rows.append({"user": user, "items": items[:length], "train_end": train})
        first = draw(st.integers(train, length))
        added[user] = items[first : first + draw(st.integers(0, 4))]
        dropped[user] = items[: draw(st.integers(0, train))]
    kinds = pa.schema([("user", pa.int32()), ("items", pa.list_(pa.int32())), ("train_end", pa.int32())])
    return pa.Table.from_pylist(rows, kinds), chosen_of(added, dropped)


@given(store=stores())
def test_refined_is_the_log_with_zeros_and_what_was_chosen(store):
    batch, chosen = store
    fused = fused_rows(batch, "refined", WEIGHT, 0, chosen, None)
    assert fused.schema.equals(FUSED)
    for given_row, row in zip(batch.to_pylist(), fused.to_pylist(), strict=True):
        train = given_row["items"][: given_row["train_end"]]
        start, end = chosen.added.indptr[row["user"]], chosen.added.indptr[row["user"] + 1]
        dropped = chosen.dropped.items[
            chosen.dropped.indptr[row["user"]] : chosen.dropped.indptr[row["user"] + 1]
        ]
        assert row["user"] == given_row["user"] and row["observed"] == len(train)
        assert row["items"] == train + chosen.added.items[start:end].tolist()
        assert row["weights"] == [0.0 if item in dropped else 1.0 for item in train] + [WEIGHT] * (
            end - start
        )
        assert row["sequence"] is None
    Interactions.from_table(fused, N_ITEMS)


@given(store=stores(), seed=st.integers(0, 5))
def test_every_control_adds_as_much_of_each_slice_and_nothing_known(store, seed):
    batch, chosen = store
    none_dropped = chosen_of(
        [chosen.added.items[start:end] for start, end in itertools.pairwise(chosen.added.indptr)], [[]] * 8
    )
    users = batch["user"].to_numpy()
    wanted = chosen.amounts(users).added
    for variant in ("generated", *CONTROLS):
        source = control_of(variant, seed)
        table = fused_rows(batch, variant, WEIGHT, seed, none_dropped, source)
        parts = [
            fused_rows(batch.slice(n, 1), variant, WEIGHT, seed, none_dropped, source)
            for n in range(len(batch))
        ]
        assert pa.concat_tables(parts).equals(table), "what a user gets does not depend on the batch"
        added = [row["items"][row["observed"] :] for row in table.to_pylist()]
        for given_row, more in zip(batch.to_pylist(), added, strict=True):
            assert not set(more) & set(given_row["items"][: given_row["train_end"]])
            assert len(set(more)) == len(more)
        found = counted(Histories.of(added), CODES)
        assert (found <= wanted).all()
        lacking = dict(zip(SLICES, (wanted - found).sum(axis=0), strict=True))
        assert missing(table, none_dropped) == lacking
        if variant == "generated":
            assert not any(lacking.values())
        if variant == "random":  # only a slice without unknown items is left short
            trained = [row["items"][: row["train_end"]] for row in batch.to_pylist()]
            known = counted(Histories.of(trained), CODES)
            assert (found == np.minimum(wanted, counted(Histories.of([POOL]), CODES) - known)).all()


@given(store=stores(), seed=st.integers(0, 5))
def test_the_control_of_insertion_puts_as_many_at_the_same_places(store, seed):
    batch, chosen = store
    own = fused_rows(batch, "insertion", WEIGHT, seed, chosen, None).to_pylist()
    control = fused_rows(
        batch, "insertion_itemcf", WEIGHT, seed, chosen, control_of("insertion_itemcf", seed)
    )
    for one, other in zip(own, control.to_pylist(), strict=True):
        if len(one["items"]) == len(other["items"]):  # nobody lacks candidates
            assert one["sequence"] == other["sequence"] and one["weights"] == other["weights"]


@given(store=stores(), seed=st.integers(0, 5))
def test_insertion_puts_each_added_item_among_the_observed_in_their_order(store, seed):
    batch, chosen = store
    fused = fused_rows(batch, "insertion", WEIGHT, seed, chosen, None)
    for row in fused.to_pylist():
        assert sorted(row["sequence"]) == list(range(len(row["items"]))), "a permutation of the entries"
        assert [place for place in row["sequence"] if place < row["observed"]] == list(range(row["observed"]))
    alone = [
        fused_rows(batch.slice(place, 1), "insertion", WEIGHT, seed, chosen, None)
        for place in range(len(batch))
    ]
    assert pa.concat_tables(alone).equals(fused), "what a user gets does not depend on the batch"


def test_every_place_of_a_sequence_is_as_likely():
    n = 3000
    kinds = pa.schema([("user", pa.int32()), ("items", pa.list_(pa.int32())), ("train_end", pa.int32())])
    batch = pa.Table.from_pylist(
        [{"user": user, "items": [0, 1, 2], "train_end": 3} for user in range(n)], kinds
    )
    chosen = chosen_of([[9]] * n, [[]] * n)
    orders = fused_rows(batch, "insertion", WEIGHT, 0, chosen, None)["sequence"].to_pylist()
    places = Counter(order.index(3) for order in orders)
    assert set(places) == {0, 1, 2, 3} and min(places.values()) > 0.85 * n / 4


def test_sasrec_reads_a_sequence_in_its_order():
    """What was inserted stands where it was put, with its own weight, when a model of sequences is trained."""
    row = {
        "user": 0,
        "items": [5, 6, 7, 9],
        "weights": [1.0, 1.0, 1.0, WEIGHT],
        "observed": 3,
        "sequence": [0, 3, 1, 2],
    }
    later = {"user": 1, "items": [1, 2], "weights": [1.0, 1.0], "observed": 2, "sequence": [0, 1]}
    train = Interactions.from_table(pa.Table.from_pylist([later, row], FUSED), N_ITEMS)
    arrays = SASRecModel("sasrec", SASRecSection(dim=8), seed=0).loop_arrays(train)
    assert arrays["sequences"].tolist() == [5, 9, 6, 7, 1, 2]
    np.testing.assert_allclose(arrays["sequence_weights"], [1, WEIGHT, 1, 1, 1, 1])
    assert not len(arrays["added"])
    assert train.items.tolist() == [5, 6, 7, 9, 1, 2] and train.history(0).tolist() == [5, 6, 7]


SETTINGS = {
    "name": "x",
    "variants": ["observed", "generated", "discriminated", "random"],
    "recommenders": {
        "itemcf": {"judge": {"keep": 9}},
        "swing": {},
        "bpr": {"variants": ["observed", "generated"]},
    },
}


def test_a_recommender_with_a_judge_of_its_own_has_training_sets_of_its_own():
    recipe = Recipe.model_validate(SETTINGS)
    sets = recipe.training_sets
    shared = {"observed", "generated", "discriminated", "random"}
    assert set(sets) == shared | {f"{variant}-itemcf" for variant in shared - {"observed"}}
    for name, (variant, judge) in sets.items():
        assert name.removesuffix("-itemcf") == variant
        assert judge == recipe.judge.model_copy(
            update={"keep": 9 if name.endswith("-itemcf") else recipe.judge.keep}
        )
    assert recipe.training_set_of("itemcf", "generated") == "generated-itemcf"
    assert recipe.training_set_of("itemcf", "observed") == "observed"
    assert recipe.training_set_of("bpr", "generated") == "generated"


def test_a_training_set_that_no_recommender_reads_is_not_made():
    recommenders = {"itemcf": {"judge": {"keep": 9}}}
    sets = Recipe.model_validate(SETTINGS | {"recommenders": recommenders}).training_sets
    assert set(sets) == {"observed", "generated-itemcf", "discriminated-itemcf", "random-itemcf"}


def test_a_control_can_have_values_of_its_own():
    """They change the judge of the recommender, and nothing of another variant."""
    own = {"controls": {"random": {"weight": 0.1, "keep": 2}}}
    recipe = Recipe.model_validate(
        SETTINGS | {"recommenders": {"swing": own, "bpr": {"judge": {"keep": 7}} | own}}
    )
    sets = recipe.training_sets
    assert set(sets) == {
        "observed",
        "generated",
        "discriminated",
        "random-swing",
        "generated-bpr",
        "discriminated-bpr",
        "random-bpr",
    }
    assert sets["random-swing"] == ("random", recipe.judge.model_copy(update={"weight": 0.1, "keep": 2}))
    assert sets["random-bpr"][1] == sets["random-swing"][1] and sets["generated-bpr"][1].keep == 7
    assert sets["discriminated"][1] == recipe.judge_of("swing") == recipe.judge
    assert (
        recipe.recommenders["swing"].of_fit()
        == Recipe.model_validate(SETTINGS).recommenders["swing"].of_fit()
    )


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ({"random": {"kep": 1}}, "recommenders.itemcf.controls.random.kep"),
        (
            {"discriminated": {"keep": 1}},
            "recommenders.itemcf.controls has .'discriminated'.*itemcf, popular",
        ),
        ({"id_list_itemcf": {"keep": 1}}, "recommenders.itemcf.controls has .'id_list_itemcf'"),
    ],
)
def test_values_of_what_is_no_judged_control_are_refused(controls, said):
    with pytest.raises(ValueError, match=said):
        Recipe.model_validate(SETTINGS | {"recommenders": {"itemcf": {"controls": controls}}})


@pytest.mark.parametrize("judge", [{"keep": 0}, {"kep": 3}])
def test_a_judge_that_cannot_be_is_named(judge):
    with pytest.raises(ValueError, match=f"recommenders.itemcf.judge.{next(iter(judge))}"):
        Recipe.model_validate(SETTINGS | {"recommenders": {"itemcf": {"judge": judge}}})


def test_a_repeated_purchase_weighs_as_often_as_it_was():
    kinds = pa.schema(
        [("user", pa.int32()), ("items", pa.list_(pa.int32())), ("train_end", pa.int32()), STRENGTHS]
    )
    rows = [
        {"user": 0, "items": [4, 5, 6], "train_end": 2, "strengths": [3, 1, 1]},
        {"user": 1, "items": [], "train_end": 0, "strengths": []},
        {"user": 2, "items": [7], "train_end": 1, "strengths": [2]},
    ]
    chosen = chosen_of([[9], [], [8, 3]], [[5], [], []])
    fused = fused_rows(pa.Table.from_pylist(rows, kinds), "refined", WEIGHT, 0, chosen, None)
    assert fused["weights"].to_pylist() == [[3, 0, WEIGHT], [], [2, WEIGHT, WEIGHT]]
