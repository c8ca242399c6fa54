"""A log that keeps its repeats (`dataset.repeats: all`): every recommender learns from it and offers nothing twice."""

import numpy as np
import pytest

from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.trained_section import TrainedSection
from tests.recommenders.conftest import SECTIONS

USERS, ITEMS, STEPS = 30, 25, 12


@pytest.mark.parametrize("name", SECTIONS)
def test_a_history_with_repeats_is_learnt_from_and_masked(name: str) -> None:
    rng = np.random.default_rng(4)
    taken = np.concatenate([rng.choice(rng.permutation(ITEMS)[:5], STEPS) for _ in range(USERS)])
    train = Interactions(
        indptr=np.arange(USERS + 1) * STEPS,
        items=taken.astype(np.int32),
        weights=np.ones(USERS * STEPS, np.float32),
        observed=np.full(USERS, STEPS),
        n_items=ITEMS,
    )
    section = SECTIONS[name]
    if isinstance(section, TrainedSection):
        section = section.model_copy(update={"epochs": 2})
    histories = [train.history(user) for user in range(USERS)]
    offered, _ = build(name, section, seed=1).fit(train).recommend_history(histories, ITEMS)
    for items, history in zip(offered, histories, strict=True):
        assert sorted(set(items) - {-1}) == sorted(items[items >= 0]), "an item is offered twice"
        assert not set(items) & set(history), "an item of the history is offered"
