"""A step's gradient is that of the loss as published, weights and preferences act on it, odd training sets are taken."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from longtail.errors import InputError
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions, Preferences
from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.models.lightgcn import LightGCNSection
from longtail.recommenders.models.mixgcf import MixGCFSection
from longtail.recommenders.models.sgl import SGLSection
from longtail.recommenders.training.sampling import Batch
from tests.recommenders.conftest import SECTIONS, clusters, interactions
from tests.recommenders.learners import cold_preferences, dense, every_layer, learner

MODELS = ("bpr", "lightgcn", "sgl", "mixgcf", "neumf")


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_the_gradient_is_that_of_the_loss_as_published(layers: int) -> None:
    train = clusters()
    name, section = "bpr", BPRSection(dim=4, batch=40, l2=0.1)
    if layers:
        name, section = "lightgcn", LightGCNSection(dim=4, layers=layers, batch=40, l2=0.1)
    ours = learner(name, section, train, cold_preferences())
    batch: Batch = next(iter(ours.batches.epoch(np.random.default_rng(0))))
    loss = ours.learn(batch, np.random.default_rng(5))

    drawn = ours.batches.negatives.draw(batch.users[:40], np.random.default_rng(5))
    rejected = np.concatenate([drawn, batch.rejected]) + ours.n_users
    theirs = ours.embeddings.clone().requires_grad_()
    final = every_layer(dense(train.matrix.toarray()), theirs, layers).mean(0)
    preferred = batch.preferred + ours.n_users
    difference = (final[batch.users] * (final[preferred] - final[rejected])).sum(1)
    expected = (torch.tensor(batch.weights) * functional.softplus(-difference)).sum()
    squares = sum(theirs[part].square().sum() for part in (batch.users, preferred, rejected))
    ((expected + section.l2 / 2 * squares) / 40).backward()
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(ours.embeddings.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_step_sums_one_float_for_each_pair() -> None:
    ours = learner("lightgcn", LightGCNSection(dim=4, batch=64), clusters())
    ours.epoch(np.random.default_rng(0))
    assert ours.exchanged == len(ours.batches.users)


def test_generated_interactions_teach_less_than_observed_ones() -> None:
    """The less an item weighs, the nearer its score to that of one that the user did not take."""
    observed, generated = (
        [[user % 4, 4 + user % 4] for user in range(40)],
        [[8 + user % 2] for user in range(40)],
    )
    gains = []
    for weight in (1.0, 0.3, 1e-6):
        train = interactions(observed, 10, generated, weight)
        model = build("bpr", BPRSection(dim=8, epochs=40, lr=0.02, l2=0.0), seed=5).fit(train)
        margin = [model.users[u] @ (model.items[8 + u % 2] - model.items[9 - u % 2]) for u in range(40)]
        gains.append(np.mean(margin))
    assert gains[0] > gains[1] > gains[2]


@pytest.mark.parametrize("name", MODELS)
def test_preferences_rank_cold_items(name: str) -> None:
    """Without them no cold item is offered; with a weight of 0 they make one a candidate, but say nothing of its place."""
    section = SECTIONS[name].model_copy(update={"epochs": 30, "lr": 0.02})
    if isinstance(section, SGLSection):  # its contrast drives items apart, which tells nothing in 60 users
        section = section.model_copy(update={"contrast_weight": 0.01})
    cold = build(name, section, seed=1).fit(clusters())
    assert not np.isin(cold.recommend(np.arange(1, 60), 24)[0], [22, 23]).any()

    def share(preference_weight: float) -> float:
        """Of the users, those whom the preferred of the two cold items is offered first."""
        weighted = section.model_copy(update={"preference_weight": preference_weight})
        model = build(name, weighted, seed=1).fit(clusters(), cold_preferences())
        items, _ = model.recommend(np.arange(1, 60), 24)
        return float(((items == 22).argmax(1) < (items == 23).argmax(1)).mean())

    assert share(0.0) < share(1.0) > 0.95


@pytest.mark.parametrize("name", MODELS)
def test_odd_training_sets_are_taken(name: str) -> None:
    """No interaction, all of the catalogue, one item twice, a weight of zero, an item without users."""
    rows = [[], [0, 1, 2, 3], [0, 0, 1], [2], [1, 3]]
    train = interactions(rows, 5)
    weights = train.weights.copy()
    weights[train.indptr[3]] = 0.0
    train = Interactions(train.indptr, train.items, weights, train.observed, train.n_items)
    model = build(name, SECTIONS[name], seed=2).fit(train)
    assert all(np.isfinite(array).all() for array in model.arrays().values())
    items, _ = model.recommend(np.arange(5), 5)
    offered = [set(row[row >= 0].tolist()) for row in items]
    assert offered == [set(), set(), {2, 3}, {0, 1, 3}, {0, 2}]


@pytest.mark.parametrize("name", MODELS)
def test_a_training_set_without_any_interaction_offers_nothing(name: str) -> None:
    model = build(name, SECTIONS[name]).fit(interactions([[], []], 4))
    assert (model.recommend(np.arange(2), 3)[0] == -1).all()
    preferred = build(name, SECTIONS[name]).fit(interactions([[], []], 24), cold_preferences(users=2))
    assert (preferred.recommend_history([np.array([22])], 3)[0] == [23, -1, -1]).all()


@pytest.mark.parametrize(
    ("name", "section"), [("bpr", BPRSection), ("lightgcn", LightGCNSection), ("mixgcf", MixGCFSection)]
)
def test_a_loss_that_explodes_is_an_input_error(name: str, section: type) -> None:
    with pytest.raises(InputError, match="lower lr"):
        build(name, section(dim=4, epochs=30, lr=1e30)).fit(clusters())


def test_no_preferences_are_the_same_as_none_given() -> None:
    one, other = (
        build("bpr", SECTIONS["bpr"], seed=4).fit(clusters(), given) for given in (None, Preferences.none())
    )
    np.testing.assert_array_equal(one.users, other.users)
