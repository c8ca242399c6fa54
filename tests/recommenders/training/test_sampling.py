"""An epoch is one pass over all interactions and all preferences; negatives are warm, untaken and uniform."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.training.sampling import Negatives
from tests.recommenders.conftest import clusters, interactions
from tests.recommenders.learners import cold_preferences, learner


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(2, 9), st.floats(0.1, 0.9))
def test_a_negative_is_warm_and_never_taken(seed: int, users: int, items: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    taken = rng.random((users, items)) < share
    negatives = Negatives(csr_matrix(taken.astype(np.float32)))
    warm = taken.any(axis=0)
    np.testing.assert_array_equal(negatives.possible, (warm & ~taken).any(axis=1))
    asked = rng.permutation(np.repeat(np.flatnonzero(negatives.possible), 5))
    drawn = negatives.draw(asked, rng)
    assert drawn.dtype == np.int64 and warm[drawn].all() and not taken[asked, drawn].any()


def test_negatives_are_uniform_and_repeat_by_seed() -> None:
    taken = clusters().matrix
    negatives, users = Negatives(taken), np.repeat(np.arange(1, 60), 400)
    drawn = negatives.draw(users, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, negatives.draw(users, np.random.default_rng(0)))
    counts = np.bincount(drawn[users == 1], minlength=24)
    possible = np.setdiff1d(np.arange(22), taken[1].indices)
    expected = 400 / len(possible)
    chi_square = ((counts[possible] - expected) ** 2 / expected).sum()
    assert chi_square < 40  # 13 degrees of freedom: p < 2e-4


def test_an_epoch_is_one_pass_over_interactions_and_preferences() -> None:
    train, preferences = clusters(), cold_preferences()
    section = BPRSection(dim=4, batch=50, preference_weight=0.5)
    batches = list(learner("bpr", section, train, preferences).batches.epoch(np.random.default_rng(3)))
    assert len(batches) == -(-train.matrix.nnz // 50)
    main = [np.stack([batch.users, batch.preferred, batch.weights])[:, : batch.size] for batch in batches]
    found = np.concatenate(main, axis=1)
    users, items = train.matrix.nonzero()
    expected = np.stack([users, items, train.matrix.data])
    order = np.lexsort(found[:2])
    np.testing.assert_array_equal(found[:, order], expected[:, np.lexsort(expected[:2])])
    pairs = np.concatenate([batch.users[batch.size :] for batch in batches])
    np.testing.assert_array_equal(np.sort(pairs), preferences.users)
    shares = [len(batch.rejected) for batch in batches]
    assert max(shares) - min(shares) <= 1
    weights = np.concatenate([batch.weights[batch.size :] for batch in batches])
    np.testing.assert_allclose(weights, 0.4)


def test_a_user_who_took_everything_has_no_part() -> None:
    batches = learner("bpr", BPRSection(dim=4), interactions([[0, 1, 2], [0, 1]], 3)).batches
    (batch,) = batches.epoch(np.random.default_rng(0))
    assert batch.users.tolist() == [1, 1] and batches.divisor == 2


def test_preferences_alone_can_be_learnt_from() -> None:
    found = learner("bpr", BPRSection(dim=4), interactions([[], []], 24), cold_preferences(users=2))
    (batch,) = found.batches.epoch(np.random.default_rng(0))
    assert batch.size == 0 and batch.divisor == 2
    assert found.epoch(np.random.default_rng(0)) > found.epoch(np.random.default_rng(0)) > 0
