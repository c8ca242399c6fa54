"""Controls and fusion: no variant adds what a user knows or what is held out, and all add as much as is asked for."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.augment.controls import at_random, by_itemcf, by_popularity
from app.augment.fusion import _lists
from app.recipe import ItemCF as ItemCFSection
from app.recommenders.base import Interactions
from app.recommenders.itemcf import ItemCF
from app.schema import ACCEPTED, ANSWERS, HELD_OUT, REJECTED

N_ITEMS = 30
COUNTS = np.arange(N_ITEMS) % 7  # some items were never taken


def itemcf() -> ItemCF:
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.choice(N_ITEMS, 6, replace=False) for _ in range(40)]).astype(np.int32)
    train = Interactions(np.arange(0, 241, 6), items, np.ones(240, np.float32), np.full(40, 6), N_ITEMS)
    return ItemCF(ItemCFSection()).fit(train)


PICKS = {
    "random": at_random(3, N_ITEMS),
    "popular": by_popularity(3, COUNTS),
    "itemcf": by_itemcf(itemcf()),
}


@pytest.mark.parametrize("name", PICKS)
@settings(max_examples=40, deadline=None)
@given(
    user=st.integers(0, 50),
    items=st.permutations(range(N_ITEMS)),
    train=st.integers(1, 8),
    count=st.integers(0, 5),
)
def test_nothing_known_or_held_out_is_added(name, user, items, train, count):
    history, held_out = np.array(items[:train], np.int32), np.array(items[train : train + 2])
    added = PICKS[name](user, history, held_out, count)
    assert len(added) == len(set(added.tolist())) <= count
    assert not np.isin(added, history).any() and not np.isin(added, held_out).any()
    assert added.tolist() == PICKS[name](user, history, held_out, count).tolist()
    if name == "random":
        assert len(added) == count
    if name == "popular":
        assert (COUNTS[added] > 0).all()


def test_popular_items_are_drawn_more_often():
    drawn = np.concatenate(
        [PICKS["popular"](user, np.empty(0, int), np.empty(0, int), 3) for user in range(400)]
    )
    assert (drawn % 7 == 6).sum() > 2 * (drawn % 7 == 1).sum()


def test_generated_adds_as_many_as_were_accepted_by_likelihood_alone():
    def proposal(item: int, outcome: str, likelihood: float, confidence: float | None) -> dict:
        return {"item": item, "outcome": outcome, "likelihood": likelihood, "confidence": confidence}

    proposals = [
        proposal(1, REJECTED, 0.9, 0.1),
        proposal(2, ACCEPTED, 0.2, 0.5),
        proposal(3, ACCEPTED, 0.1, 0.8),
        proposal(4, HELD_OUT, 0.99, None),
        proposal(5, REJECTED, 0.3, 0.2),
    ]
    blank = {name: None for name in ANSWERS.names}
    batch = pa.Table.from_pylist([blank | {"user": 7, "proposals": proposals}], ANSWERS)
    (row,) = _lists(batch, tail_share=0.0, rare=np.zeros(9, bool)).to_pylist()
    assert row == {"user": 7, "discriminated": [3, 2], "generated": [1, 5]}
    (row,) = _lists(batch, tail_share=0.5, rare=np.arange(9) == 2).to_pylist()
    assert row["generated"] == [2, 1], "the reserved seat goes to the only rare item"
