"""SASRec learns an order, from every position once an epoch, and hears of preferences."""

import numpy as np
import pytest
import torch

from app.errors import InputError
from app.recipe import SASRec as Section
from app.recommenders import build
from app.recommenders.base import Preferences, latest
from app.recommenders.losses import NextItemLoss
from app.recommenders.sasrec import Batches, SASRec
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


def test_what_was_generated_does_not_unlearn_the_order() -> None:
    """Random items behind every history cost SASRec a third of its hits (.64) while they were inputs at the end of it."""
    rng, n_items = np.random.default_rng(0), 20
    rows = [((rng.integers(n_items) + np.arange(8)) % n_items).tolist() for _ in range(200)]
    noise = [rng.integers(n_items, size=8).tolist() for _ in rows]
    section = Section(dim=32, epochs=40, dropout=0.1, lr=5e-3, batch=64, max_length=10, layers=1, loss="full")
    model = build("sasrec", section, seed=1).fit(interactions(rows, n_items, noise, weight=0.1))
    items, _ = model.recommend(np.arange(200), 1)
    assert np.mean(items[:, 0] == [(row[-1] + 1) % n_items for row in rows]) > 0.9


@pytest.mark.parametrize("loss", ["bce", "sampled"])
def test_a_batch_asks_for_every_next_item_and_asks_the_last_state_for_what_was_generated(loss: str) -> None:
    train, section = clusters(), Section(batch=7, max_length=50, loss=loss)
    taken, seen = train.matrix, []
    batches = Batches(SASRec(section).prepared(train, Preferences.none()), 24, section)
    for (items, layout, places, targets, weights, negatives, _), n in batches.epoch(
        np.random.default_rng(0), CPU
    ):
        assert n == len(places) == len(targets) == len(weights)
        starts = [0, *(layout.last[:-1] + 1).tolist()]
        for start, last in zip(starts, layout.last.tolist(), strict=True):
            own = items[start : last + 1].tolist()
            (user,) = (user for user in range(60) if train.history(user)[:-1].tolist() == own)
            entries = slice(train.indptr[user], train.indptr[user + 1])
            asked = (places >= start) & (places <= last)
            assert targets[asked].tolist() == train.items[entries][1:].tolist()
            np.testing.assert_array_equal(weights[asked], train.weights[entries][1:])
            assert (places[asked] - start).tolist() == [0, 1, 2, 3, 4, 4, 4]
            if loss == "bce":
                drawn = np.array(negatives[asked])
                assert (taken[np.full(len(drawn), user), drawn] == 0).all()
            seen.append(user)
    assert sorted(seen) == list(range(1, 60)), "every user with two items, once"


def test_users_of_one_item_learn_what_was_generated_for_them() -> None:
    train = interactions([[3], [4], [], [5, 6]], 10, [[7, 8], [], [9], []], weight=0.5)
    section = Section(batch=8, max_length=4, loss="full")
    batches = Batches(SASRec(section).prepared(train, Preferences.none()), 10, section)
    ((items, layout, places, targets, weights, _, _), n), *more = batches.epoch(np.random.default_rng(0), CPU)
    assert not more and n == 3 and len(layout.last) == 2
    asked = sorted(zip(items[places].tolist(), targets.tolist(), weights.tolist(), strict=True))
    assert asked == [(3, 7, 0.5), (3, 8, 0.5), (5, 6, 1.0)]


def test_a_long_history_is_cut_and_what_was_generated_is_not() -> None:
    train = interactions([[*range(8)]], 20, [[*range(10, 20)]])
    section = Section(batch=8, max_length=3, loss="full")
    batches = Batches(SASRec(section).prepared(train, Preferences.none()), 20, section)
    ((items, _, places, targets, *_), _), *_ = batches.epoch(np.random.default_rng(0), CPU)
    assert items.tolist() == [4, 5, 6] and targets.tolist() == [5, 6, 7, *range(10, 20)]
    assert places.tolist() == [0, 1, 2] + [2] * 10


def test_workers_share_what_one_would_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a batch has fewer users than there are workers: one of them takes part without weight."""
    train = interactions([[1, 2, 3], [4], [5, 6]], 12, [[7], [8, 9], []])
    section = Section(batch=2, max_length=3, loss="full")
    preferences = Preferences(
        np.arange(3), np.array([9, 10, 11]), np.array([1, 2, 3]), np.ones(3, np.float32)
    )
    arrays = SASRec(section).prepared(train, preferences)

    def asked(rank: int, n_workers: int) -> list[tuple[int, int, float]]:
        """Last item read, target or preferred, weight."""
        monkeypatch.setattr("app.recommenders.sasrec.workers", lambda: (rank, n_workers))
        found = []
        for (items, layout, places, targets, weights, _, preferred), _ in Batches(arrays, 12, section).epoch(
            np.random.default_rng(0), CPU
        ):
            assert len(places)
            found += zip(items[places].tolist(), targets.tolist(), weights.tolist(), strict=True)
            last = items[layout.last[preferred[0]]]
            found += zip(last.tolist(), preferred[1].tolist(), preferred[3].tolist(), strict=True)
        return [one for one in found if one[2]]

    assert sorted(asked(0, 1)) == sorted([*asked(0, 3), *asked(1, 3), *asked(2, 3)])


def test_latest_entries_of_ragged_rows() -> None:
    starts = np.array([0, 0, 3, 4])
    place, lengths = latest(starts, np.array([2, 0, 1]), 2)
    assert place.tolist() == [3, 1, 2] and lengths.tolist() == [1, 0, 2]


def test_a_target_of_no_weight_has_no_gradient() -> None:
    loss = NextItemLoss(Transformer(20, Section(dim=8, max_length=10)).eval(), True, 1.0)
    items, targets, negatives = (torch.randint(0, 20, (15,)) for _ in range(3))
    layout, weights, places = Layout.of(np.array([5, 5, 5]), 10, CPU), torch.ones(15), torch.arange(15)
    weights[3:5] = 0

    def gradients(targets: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        found, _ = loss(items, layout, places, targets, weights, negatives, NONE)
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
