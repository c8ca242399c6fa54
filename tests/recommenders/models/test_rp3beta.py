"""RP3beta's scores are the probabilities of a walk of three steps, divided by a power of the item's degree."""

import numpy as np
import pytest

from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models import rp3beta
from longtail.recommenders.models.rp3beta import RP3beta
from longtail.recommenders.models.rp3beta import RP3betaSection as Section
from tests.recommenders.conftest import clusters, interactions


def walked(train: Interactions, alpha: float, beta: float) -> np.ndarray:
    """The twin: from item j by each of its users v to each of the user's items i, one path after the other."""
    ratings = train.matrix.toarray().astype(np.float64)
    n_items = ratings.shape[1]
    of_user, of_item = ratings.sum(axis=1), ratings.sum(axis=0)
    found = np.zeros((n_items, n_items))
    for j in range(n_items):
        for v in np.flatnonzero(ratings[:, j]):
            for i in np.flatnonzero(ratings[v]):
                there = (ratings[v, j] / of_item[j]) ** alpha
                found[j, i] += there * (ratings[v, i] / of_user[v]) ** alpha / of_item[i] ** beta
    np.fill_diagonal(found, 0)
    return found


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.0, 0.6), (0.5, 1.0), (1.7, 0.3)])
@pytest.mark.parametrize("scores_at_once", [1, 100, 2**23])
def test_similarities_are_the_walk(
    alpha: float, beta: float, scores_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the blocks; interaction weights of .3 and items that nobody took are among them."""
    monkeypatch.setattr(rp3beta, "SCORES_AT_ONCE", scores_at_once)
    model = RP3beta("rp3beta", Section(alpha=alpha, beta=beta, neighbours=24)).fit(clusters())
    np.testing.assert_allclose(model.similarity.toarray(), walked(clusters(), alpha, beta), rtol=1e-5)


def test_the_walk_from_a_user_by_hand() -> None:
    """User 0 took items 0 and 1. Item 2 is reached over item 0 and user 1, and over item 1 and user 2."""
    train = interactions([[0, 1], [0, 2], [1, 2, 3]], 4)
    steps = train.matrix.toarray() / train.matrix.toarray().sum(axis=1, keepdims=True)
    back = train.matrix.toarray().T / train.matrix.toarray().sum(axis=0)[:, None]
    ended = (steps @ back @ steps)[0]
    assert ended[2] == pytest.approx(1 / 2 * (1 / 2 * 1 / 2) + 1 / 2 * (1 / 2 * 1 / 3))
    model = RP3beta("rp3beta", Section(alpha=1.0, beta=0.5, neighbours=4)).fit(train)
    items, scores = model.recommend(np.array([0]), 2)
    assert items[0].tolist() == [2, 3]
    # A score is the sum over the two items of the history, so twice the probability.
    np.testing.assert_allclose(scores[0], 2 * ended[[2, 3]] / np.array([2, 1]) ** 0.5, rtol=1e-6)


def test_beta_moves_from_popular_to_rare_items() -> None:
    """Item 1 has 22 users, two of them with item 0; item 2 has one user, who took item 0 too."""
    rows = [[0, 1], [0, 1], [0, 2], *[[1]] * 20]
    first = [
        RP3beta("rp3beta", Section(beta=beta)).fit(interactions(rows, 3)).similar_items(np.array([0]), 1)[0]
        for beta in (0.0, 1.0)
    ]
    assert first[0][0, 0] == 1 and first[1][0, 0] == 2


def test_an_interaction_of_vanishing_weight_is_as_good_as_removed() -> None:
    """A small alpha lifts small weights, so there it takes a smaller one."""
    observed = [[0, 1], [0, 2], [1, 2]]
    faint, none = (
        RP3beta("rp3beta", Section(alpha=1.0))
        .fit(interactions(observed, 4, more, weight=1e-9))
        .similarity.toarray()
        for more in ([[2], [], [0]], [[], [], []])
    )
    np.testing.assert_allclose(faint, none, atol=1e-6)


def test_an_empty_training_set() -> None:
    model = RP3beta("rp3beta", Section()).fit(interactions([[], []], 4))
    assert (model.recommend(np.arange(2), 3)[0] == -1).all()
