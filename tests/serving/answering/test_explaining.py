"""An explanation adds up to the score, and its pairs are counted right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders.interactions import Histories, Interactions
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.versions.evidence import Evidence
from longtail.workspace import Workspace
from tests.aggregation.test_choice import figure
from tests.serving.store import GENERATED, TRAIN, ask, chosen_from, endpoint, fit

histories = st.lists(st.integers(0, 4), max_size=6)


def training_set(observed: list[list[int]], generated: list[list[int]]) -> Interactions:
    rows = [own + more for own, more in zip(observed, generated, strict=True)]
    return Interactions(
        indptr=np.cumsum([0, *map(len, rows)]),
        items=np.array(sum(rows, []), np.int32),
        weights=np.ones(sum(map(len, rows)), np.float32),
        observed=np.array([len(own) for own in observed]),
        n_items=5,
    )


@given(st.lists(st.tuples(histories, histories), min_size=1, max_size=6))
def test_pairs_against_a_loop(rows: list[tuple[list[int], list[int]]]) -> None:
    observed, generated = ([row[part] for row in rows] for part in (0, 1))
    found = Evidence.of(dict(Evidence.read(training_set(observed, generated))))
    for one in range(5):
        for other in range(5):
            took = sum({one, other} <= {*own} for own in observed)
            have = sum({one, other} <= {*own, *more} for own, more in rows)
            assert found.pairs(one, other) == (took, have - took)
    for user, more in enumerate(generated):
        assert found.generated(user).tolist() == sorted({*more})


@given(histories.filter(len))
def test_contributions_add_up_to_the_score(history: list[int]) -> None:
    """Of an item that occurs twice only the latest occurrence counts, as in the score."""
    observed = [[0, 1, 2], [1, 2, 3], [0, 3, 4], [2, 4]]
    model = ItemCF("itemcf", ItemCFSection(recency=0.7)).fit(training_set(observed, [[]] * 4))
    own = np.array(history, np.int32)
    scores = model.score(Histories.of([own]), None)[0]
    sums = model.contributions(own, np.arange(5)).sum(axis=0)
    assert np.where(np.isfinite(scores), scores, 0) == pytest.approx(sums, abs=1e-6)


def test_neighbours_name_shares_of_the_users_items(here: Endpoint) -> None:
    found = ask(here, "u0", explain=True, k=100)
    for item in found.items:
        assert item.why.how == ("neighbours" if item.recommender_rank else "llm")
        assert bool(item.why.leans_on) == bool(item.recommender_rank)
        for one in item.why.leans_on:
            assert one.item_id in {"i0", "i1", "i2", "i6"} and one.origin == "observed"
        if item.recommender_rank:
            assert sum(one.weight for one in item.why.leans_on) == pytest.approx(1)
    assert all(item.why is None for item in ask(here, "u0").items)
    popular = ask(here, "nobody", explain=True).items
    assert {item.why.how for item in popular} == {"popularity"}


def test_what_the_llm_generated_is_told_apart(ws: Workspace) -> None:
    """A factor model keeps a vector of user 0, which learnt from the generated item 5."""
    fit(ws, "bpr", dim=4, epochs=2)
    chosen_from(ws, figure("bpr", "discriminated", 0.1))
    found = ask(endpoint(ws), "u0", explain=True, k=100)
    named = {one.item_id: one.origin for item in found.items for one in item.why.leans_on}
    assert found.items and {item.why.how for item in found.items} == {"nearest"}
    assert named.get("i5") == "generated" and GENERATED[0] == [5]
    assert {origin for item, origin in named.items() if item != "i5"} == {"observed"}
    for item in found.items:
        assert [one.weight for one in item.why.leans_on] == sorted(
            (one.weight for one in item.why.leans_on), reverse=True
        )
        for one in item.why.leans_on:
            pair = {int(one.item_id[1:]), int(item.item_id[1:])}
            assert one.observed_pairs == sum(pair <= {*own} for own in TRAIN)
