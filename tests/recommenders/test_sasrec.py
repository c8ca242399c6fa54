"""SASRec learns an order, from every position once an epoch, and hears of preferences."""

import numpy as np
import pytest
import torch

from app.errors import InputError
from app.recipe import SASRec as Section
from app.recommenders import build
from app.recommenders.base import Preferences
from app.recommenders.losses import NextItemLoss
from app.recommenders.sasrec import Batches, SASRec, latest
from app.recommenders.transformer import Layout, Transformer
from tests.recommenders.conftest import clusters, interactions

CPU = torch.device("cpu")
NONE = tuple(torch.zeros(0, dtype=torch.int64) for _ in range(4))


@pytest.mark.parametrize("loss", ["bce", "sampled", "full"])
def test_a_cycle_is_learnt(loss: str) -> None:
    rng, n_items = np.random.default_rng(0), 20
    rows = [((rng.integers(n_items) + np.arange(8)) % n_items).tolist() for _ in range(200)]
    section = Section(
        dim=32, epochs=40, dropout=0.1, lr=5e-3, batch=64, max_length=10, layers=1, loss=loss, negatives=10
    )
    model = build("sasrec", section, seed=1).fit(interactions(rows, n_items))
    items, _ = model.recommend(np.arange(200), 1)
    assert np.mean(items[:, 0] == [(row[-1] + 1) % n_items for row in rows]) > 0.9
    ad_hoc, _ = model.recommend_history([np.array([3, 4, 5]), np.array([17, 18, 19])], 1)
    assert ad_hoc.tolist() == [[6], [0]]


def test_batches_hold_the_next_item_and_an_untaken_one() -> None:
    train, section = clusters(), Section(batch=7, max_length=50)
    taken, seen = train.matrix, []
    batches = Batches(SASRec(section).prepared(train, Preferences.none()), 24, section)
    for (items, layout, targets, weights, negatives, _), n in batches.epoch(np.random.default_rng(0), CPU):
        assert n == len(items) == len(targets)
        starts = [0, *(layout.last[:-1] + 1).tolist()]
        for start, last in zip(starts, layout.last.tolist(), strict=True):
            sequence = [*items[start : last + 1].tolist(), targets[last].item()]
            assert sequence[1:] == targets[start : last + 1].tolist()
            (user,) = (
                user
                for user, (a, b) in enumerate(zip(train.indptr, train.indptr[1:], strict=False))
                if train.items[a:b].tolist() == sequence
            )
            own = np.array(negatives[start : last + 1])
            assert (taken[np.full(len(own), user), own] == 0).all()
            expected = train.weights[train.indptr[user] + 1 : train.indptr[user + 1]]
            np.testing.assert_array_equal(weights[start : last + 1], expected)
            seen.append(user)
    assert sorted(seen) == list(range(1, 60)), "every user with two items, once"


def test_latest_entries_of_ragged_rows() -> None:
    starts = np.array([0, 0, 3, 4])
    place, lengths = latest(starts, np.array([2, 0, 1]), 2)
    assert place.tolist() == [3, 1, 2] and lengths.tolist() == [1, 0, 2]


def test_a_target_of_no_weight_has_no_gradient() -> None:
    loss = NextItemLoss(Transformer(20, Section(dim=8, max_length=10)).eval(), True, 1.0)
    items, targets, negatives = (torch.randint(0, 20, (15,)) for _ in range(3))
    layout, weights = Layout.of(np.array([5, 5, 5]), 10, CPU), torch.ones(15)
    weights[3:5] = 0

    def gradients(targets: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        found, _ = loss(items, layout, targets, weights, negatives, NONE)
        return list(torch.autograd.grad(found, list(loss.parameters()), allow_unused=True))

    changed = targets.clone()
    changed[3:5] = (changed[3:5] + 1) % 20
    once, doubled = gradients(targets, weights), gradients(targets, 2 * weights)
    for a, b, c in zip(once, gradients(changed, weights), doubled, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(2 * a, c)


def test_preferences_reach_an_item_that_nobody_took() -> None:
    """Items 22 and 23 are cold; even users are said to prefer 22, odd ones 23."""
    train = clusters()
    users = np.arange(1, 60)
    preferred = np.where(users % 2, 23, 22)
    pairs = Preferences(users, preferred, 45 - preferred, np.ones(59, np.float32))
    section = Section(dim=16, epochs=30, lr=5e-3, batch=32, max_length=10, layers=1)
    model = build("sasrec", section, seed=1).fit(train, pairs)
    scores = model.score(model.seen.take(users), users)
    right = scores[np.arange(59), preferred] > scores[np.arange(59), 45 - preferred]
    assert right.mean() > 0.9
    without = build("sasrec", section, seed=1).fit(train)
    assert np.isneginf(without.score(without.seen.take(users), users)[:, 22:]).all()


def test_a_loss_that_explodes_is_an_input_error() -> None:
    with pytest.raises(InputError, match="lower lr"):
        build("sasrec", Section(dim=4, epochs=30, lr=1e30, max_length=6)).fit(clusters())
