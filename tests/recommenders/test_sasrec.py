"""SASRec looks back only, learns an order, and is trained on right-padded sequences as if they were
left-padded.
"""

import numpy as np
import pytest
import torch

from app.errors import InputError
from app.recipe import SASRec as Section
from app.recommenders import build
from app.recommenders.sasrec import Batches, NextItemLoss, Transformer, _latest, loop_arrays
from tests.recommenders.conftest import clusters, interactions


def test_a_later_item_does_not_change_earlier_states() -> None:
    model = Transformer(20, Section(dim=8, max_length=10, heads=2)).eval()
    items = torch.randint(0, 20, (4, 10))
    states = model(items)
    for step in range(1, 10):
        changed = items.clone()
        changed[:, step] = (changed[:, step] + 1) % 20
        assert torch.equal(model(changed)[:, :step], states[:, :step])
        assert not torch.allclose(model(changed)[:, step], states[:, step])


def test_padding_changes_nothing() -> None:
    """A sequence has the same states alone and beside a longer one."""
    model = Transformer(20, Section(dim=8, max_length=10)).eval()
    items = torch.randint(0, 20, (1, 4))
    padded = torch.cat([items, torch.full((1, 3), -1)], dim=1)
    torch.testing.assert_close(model(padded)[:, :4], model(items))


def test_the_last_item_has_the_last_position() -> None:
    section = Section(dim=8, max_length=10)
    model = Transformer(20, section).eval()
    items = torch.randint(0, 20, (1, 4))
    before = model(items)
    with torch.no_grad():
        model.positions.weight[:6] = 100
    assert torch.equal(model(items), before)
    with torch.no_grad():
        model.positions.weight[9] = 100
    assert not torch.allclose(model(items)[:, 3], before[:, 3])


def test_a_cycle_is_learnt() -> None:
    rng, n_items = np.random.default_rng(0), 20
    rows = [((rng.integers(n_items) + np.arange(8)) % n_items).tolist() for _ in range(200)]
    section = Section(dim=32, epochs=40, dropout=0.1, lr=5e-3, batch=64, max_length=10, layers=1)
    model = build("sasrec", section, seed=1).fit(interactions(rows, n_items))
    items, _ = model.recommend(np.arange(200), 1)
    assert np.mean(items[:, 0] == [(row[-1] + 1) % n_items for row in rows]) > 0.9
    ad_hoc, _ = model.recommend_history([np.array([3, 4, 5]), np.array([17, 18, 19])], 1)
    assert ad_hoc.tolist() == [[6], [0]]


def test_batches_hold_the_next_item_and_an_untaken_one() -> None:
    train = clusters()
    arrays, taken = loop_arrays(train), train.matrix
    owner = {
        tuple(train.items[a:b]): user
        for user, (a, b) in enumerate(zip(train.indptr, train.indptr[1:], strict=False))
    }
    positions = 0
    for inputs, targets, negatives, weights in Batches(
        arrays, 24, Section(batch=7, max_length=50), 0
    ).epoch():
        for row in range(len(inputs)):
            sequence = (inputs[row, 0], *targets[row])
            user = owner[sequence]
            assert tuple(inputs[row]) == sequence[:-1]
            assert (taken[np.full(len(negatives[row]), user), negatives[row]] == 0).all()
            np.testing.assert_array_equal(
                weights[row], train.weights[train.indptr[user] + 1 : train.indptr[user + 1]]
            )
            positions += len(targets[row])
    assert positions == len(train.items) - 59, "every position but the first of each user, once an epoch"


def test_latest_values_of_ragged_rows() -> None:
    starts, values = np.array([0, 0, 3, 4]), np.array([1, 2, 3, 9])
    found = _latest(starts, values, np.array([2, 0, 1]), 2)
    assert found.tolist() == [[9, -1], [-1, -1], [2, 3]]


def test_a_target_of_no_weight_has_no_gradient() -> None:
    model = Transformer(20, Section(dim=8, max_length=10)).eval()
    loss = NextItemLoss(model)
    inputs, targets, negatives = (torch.randint(0, 20, (3, 5)) for _ in range(3))
    weights = torch.ones(3, 5)
    weights[:, 3:] = 0
    whole = torch.autograd.grad(loss(inputs, targets, negatives, weights), list(model.parameters()))
    cut = torch.autograd.grad(
        loss(inputs[:, :3], targets[:, :3], negatives[:, :3], weights[:, :3]), [model.norm.weight]
    )
    assert all(torch.isfinite(gradient).all() for gradient in whole)
    doubled = torch.autograd.grad(loss(inputs, targets, negatives, 2 * weights), list(model.parameters()))
    for once, twice in zip(whole, doubled, strict=True):
        torch.testing.assert_close(2 * once, twice)
    assert torch.isfinite(cut[0]).all()
    changed = targets.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % 20
    same = torch.autograd.grad(loss(inputs, changed, negatives, weights), list(model.parameters()))
    for once, again in zip(whole, same, strict=True):
        torch.testing.assert_close(once, again)


def test_a_loss_that_explodes_is_an_input_error() -> None:
    with pytest.raises(InputError, match="lower lr"):
        build("sasrec", Section(dim=4, epochs=30, lr=1e30, max_length=6)).fit(clusters())
