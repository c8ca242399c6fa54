"""SASRec learns an order, from every position once an epoch, and hears of preferences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions, Preferences
from longtail.recommenders.models.losses import NextItemLoss
from longtail.recommenders.models.sasrec import SASRecSection as Section
from longtail.recommenders.models.sasrec_model import Batches, SASRec
from longtail.recommenders.models.transformer import Layout, Transformer
from tests.recommenders.conftest import clusters, interactions

CPU = torch.device("cpu")
NONE = tuple(torch.zeros(0, dtype=torch.int64) for _ in range(4))


@pytest.mark.parametrize(
    ("loss", "block"), [("bce", "sasrec"), ("sampled", "sasrec"), ("full", "sasrec"), ("sampled", "ligr")]
)
def test_a_cycle_is_learnt(loss: str, block: str) -> None:
    rng, n_items = np.random.default_rng(0), 20
    rows = [((rng.integers(n_items) + np.arange(8)) % n_items).tolist() for _ in range(200)]
    learnt = {"loss": loss, "block": block, "negatives": 10, "epochs": 40, "lr": 5e-3}
    section = Section(dim=32, dropout=0.1, batch=64, max_length=10, layers=1, **learnt)
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


def test_the_state_that_is_asked_learns_what_was_generated() -> None:
    """The last item alone tells what was generated. Asked of the state before it, all users would learn the same."""
    kinds, n_items = 6, 14
    rows = [[0, 1, 2 + user % kinds] for user in range(120)]
    generated = [[8 + user % kinds] for user in range(120)]
    section = Section(dim=16, epochs=60, dropout=0.0, lr=5e-3, batch=32, max_length=5, layers=1, loss="full")
    model = build("sasrec", section, seed=1).fit(interactions(rows, n_items, generated, weight=0.1))
    items, _ = model.recommend(np.arange(120), 1)
    assert items[:, 0].tolist() == [own[0] for own in generated]


def test_the_state_that_is_asked_learns_preferences() -> None:
    """Which of two cold items a user is said to prefer hangs on the last item alone."""
    users, n_items = np.arange(120), 6
    train = interactions([[0, 1, 2 + user % 2] for user in users], n_items)
    preferred = 4 + users % 2
    pairs = Preferences(users, preferred, 9 - preferred, np.ones(120, np.float32))
    section = Section(dim=16, epochs=60, dropout=0.0, lr=5e-3, batch=32, max_length=5, layers=1, loss="full")
    model = build("sasrec", section, seed=1).fit(train, pairs)
    scores = model.score(model.seen.take(users), users)
    assert (scores[users, preferred] > scores[users, 9 - preferred]).all()


Read = tuple[tuple[int, int], ...]
"""What a state has read: items and their positions."""


def asked_in_training(
    train: Interactions, preferences: Preferences, section: Section, seed: int = 0
) -> tuple[list[tuple[Read, int, float]], list[tuple[Read, int, int, float]], list[np.ndarray]]:
    """Of an epoch of this worker all that is asked with a weight: what was read, target, weight; what was read,
    preferred, rejected, confidence; and the negatives.
    """
    arrays, found, pairs, negatives = SASRec("sasrec", section).prepared(train, preferences), [], [], []
    batches = Batches(arrays, train.n_items, section)
    for (items, layout, places, targets, weights, others, _, said), n in batches.epoch(
        np.random.default_rng(seed), CPU
    ):
        assert n >= len(places) == len(targets) == len(weights)
        starts = np.concatenate([[0], layout.last.numpy() + 1])
        assert starts[-1] == len(items)

        def read(place: int, items=items, layout=layout, starts=starts) -> Read:
            start = starts[np.searchsorted(starts, place, side="right") - 1]
            part = slice(start, place + 1)
            return tuple(zip(items[part].tolist(), layout.positions[part].tolist(), strict=True))

        rows = zip(places.tolist(), targets.tolist(), weights.tolist(), strict=True)
        found += [(read(place), target, weight) for place, target, weight in rows if weight]
        rows = zip(*(part.tolist() for part in said), strict=True)
        pairs += [(read(place), *pair) for place, *pair in rows]
        negatives.append(others.numpy())
    return sorted(found), sorted(pairs), negatives


def as_read(items: list[int], max_length: int) -> Read:
    """The latest items at the positions that they have when they are asked: the last one at the end."""
    items = items[-max_length:]
    return tuple(zip(items, range(max_length - len(items), max_length), strict=True))


@given(
    data=st.data(),
    n_users=st.integers(1, 6),
    batch=st.integers(1, 4),
    n_workers=st.integers(1, 4),
    max_length=st.integers(1, 5),
    loss=st.sampled_from(["bce", "sampled", "full"]),
)
def test_all_that_is_asked_in_training(data, n_users, batch, n_workers, max_length, loss) -> None:
    """The brute-force twin. Next items are asked as if nothing had been said; what was said, of the state that is asked
    when somebody wants recommendations; and workers share what one would ask, also where users are fewer than workers.
    """
    lists = st.lists(st.integers(0, 19), max_size=7, unique=True)
    rows, generated = ([data.draw(lists) for _ in range(n_users)] for _ in range(2))
    rows, generated = [*rows, [24, 25], [26, 27]], [*generated, [], []]  # so that everybody has negatives
    said = [(user, *data.draw(st.permutations(range(20, 24)))[:2]) for user in data.draw(users_of(n_users))]
    train = interactions(rows, 28, generated, weight=0.5)
    columns = np.array(said, np.int64).reshape(-1, 3).T
    pairs = Preferences(*columns, np.full(len(said), 0.25, np.float32))
    section = Section(batch=batch, max_length=max_length, loss=loss)
    expected = []
    for own, more in zip(rows, generated, strict=True):
        before = as_read(own[:-1][-max_length:], max_length)
        latest_targets = own[len(own) - len(before) :]
        expected += [(before[: step + 1], item, 1.0) for step, item in enumerate(latest_targets)]
        expected += [(as_read(own, max_length), item, 0.5) for item in more if own]
    preferring = [(as_read(rows[user], max_length), a, b, 0.25) for user, a, b in said if rows[user]]
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for rank in range(n_workers):
            patch.setattr(
                "longtail.recommenders.models.sasrec_model.workers", lambda rank=rank: (rank, n_workers)
            )
            parts.append(asked_in_training(train, pairs, section))
    assert sorted(one for found, *_ in parts for one in found) == sorted(expected)
    assert sorted(one for _, found, _ in parts for one in found) == sorted(preferring)


def users_of(n_users: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, n_users - 1), max_size=5)


def test_every_target_has_a_negative_that_its_user_never_took() -> None:
    """Users of two halves of the catalogue, each of whom takes all of it: a negative is of the other half."""
    rows, generated = [[0, 1, 2], [4, 5, 6]] * 10, [[3], [7]] * 10
    section = Section(batch=7, max_length=5, loss="bce")
    train = interactions(rows, 8, generated)
    batches = Batches(SASRec("sasrec", section).prepared(train, Preferences.none()), 8, section)
    for (items, _, places, targets, _, negatives, _, _), _ in batches.epoch(np.random.default_rng(0), CPU):
        lower = items[places] < 4
        assert (lower == (targets < 4)).all() and (lower != (negatives < 4)).all()


def test_what_was_inserted_is_read_at_its_place_and_preferences_are_asked_without_it() -> None:
    train = replace(interactions([[1, 2, 3]], 9, [[7]], weight=0.5), sequence=np.array([0, 3, 1, 2]))
    pairs = Preferences(*np.array([[0], [5], [6]]), np.ones(1, np.float32))
    found, preferring, _ = asked_in_training(train, pairs, Section(batch=8, max_length=4, loss="full"))
    places = ((1, 1), (7, 2), (2, 3))
    assert found == sorted([(places[:1], 7, 0.5), (places[:2], 2, 1.0), (places, 3, 1.0)])
    assert preferring == [(((1, 1), (2, 2), (3, 3)), 5, 6, 1.0)]


def test_sampled_negatives_are_uniform_over_warm_items() -> None:
    """So each position sees the softmax over its target and a uniform sample: no item needs a correction (log Q)."""
    section, train = Section(negatives=3), interactions([[0, 1, 2], [2, 3, 5]], 8)
    batches = Batches(SASRec("sasrec", section).prepared(train, Preferences.none()), 8, section)
    drawn = batches._negatives(np.zeros(20_000, np.int64), np.random.default_rng(0))
    assert drawn.shape == (20_000 // 16, 3)
    counts = np.bincount(drawn.ravel(), minlength=8)
    assert (counts[[4, 6, 7]] == 0).all(), "nobody took them"
    expected = drawn.size / 5
    assert (np.abs(counts[[0, 1, 2, 3, 5]] - expected) < 5 * (expected * 4 / 5) ** 0.5).all()
    assert batches._negatives(np.zeros(17, np.int64), np.random.default_rng(0)).shape == (2, 3)


def test_sampling_all_items_is_the_full_softmax() -> None:
    found = []
    for loss in ("sampled", "full"):
        section = Section(dim=8, epochs=3, batch=16, max_length=6, layers=1, dropout=0.0, loss=loss)
        found.append(build("sasrec", section, seed=1).fit(clusters()))
    np.testing.assert_allclose(found[0].curve["loss"], found[1].curve["loss"], rtol=1e-4)
    np.testing.assert_allclose(found[0].items, found[1].items, atol=1e-3)


PINNED = {
    "bce": [1.43679475, 1.45727598, 1.47090668],
    "sampled": [2.52346930, 2.48584157, 2.49831356],
    "full": [3.57891048, 3.56135018, 3.54409130],
}
"""Losses of three epochs on the observed log below, as they were before what is generated had sequences of its own; of
`sampled`, since groups of targets have negatives of their own."""


@pytest.mark.parametrize("loss", PINNED)
def test_the_observed_log_trains_as_it_always_did(loss: str) -> None:
    rng = np.random.default_rng(3)
    rows = [rng.permutation(30)[:n].tolist() for n in rng.integers(0, 9, 60)]
    section = Section(dim=8, epochs=3, batch=16, max_length=5, loss=loss, negatives=10)
    model = build("sasrec", section, seed=1).fit(interactions(rows, 30))
    np.testing.assert_allclose(model.curve["loss"], PINNED[loss], rtol=1e-5)


def test_a_target_of_no_weight_has_no_gradient() -> None:
    loss = NextItemLoss(Transformer(20, Section(dim=8, max_length=10)).eval(), True, 1.0)  # True: `bce`
    items, targets, negatives = (torch.randint(0, 20, (15,)) for _ in range(3))
    layout, weights, places = Layout.of(np.array([5, 5, 5]), 10, CPU), torch.ones(15), torch.arange(15)
    weights[3:5] = 0

    def gradients(targets: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        found, _ = loss(items, layout, places, targets, weights, negatives, places, NONE)
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
