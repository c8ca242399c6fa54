"""NeuMF's logit, loss and fold-in are those of its formulas, written out."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from longtail.recommenders import build
from longtail.recommenders.models import neumf_model
from longtail.recommenders.models.neumf import NeuMFSection
from longtail.recommenders.models.neumf_model import Network
from tests.recommenders.conftest import clusters, interactions
from tests.recommenders.learners import cold_preferences, learner

SECTION = NeuMFSection(dim=3, hidden=[8, 5, 2], negatives=2, epochs=3, batch=40, lr=0.01, l2=0.1)


def logit(network: Network, user: np.ndarray, item: np.ndarray) -> float:
    """Equation 12: h . [p * q ; relu(... relu(W [p'; q'] + b))]."""
    state = np.concatenate([user[3:], item[3:]])
    for layer in network.hidden:
        state = np.maximum(layer.weight.detach().numpy() @ state + layer.bias.detach().numpy(), 0)
    out = np.concatenate([user[:3] * item[:3], state])
    return float(network.out.weight.detach().numpy()[0] @ out + network.out.bias.detach().numpy()[0])


def test_scores_are_the_logits_of_all_pairs_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("neumf", SECTION, seed=1).fit(clusters())
    users, items = (table.weight.detach().numpy() for table in (model.network.users, model.network.items))
    expected = np.array([[logit(model.network, user, item) for item in items] for user in users])
    asked = np.arange(1, 60)
    whole = model.score(model.seen.take(asked), asked)
    np.testing.assert_allclose(whole[:, :22], expected[1:, :22], rtol=1e-4, atol=1e-5)
    assert np.isneginf(whole[:, 22:]).all()
    monkeypatch.setattr(neumf_model, "ACTIVATIONS_AT_ONCE", 24 * 8 * 7)
    np.testing.assert_allclose(model.score(model.seen.take(asked), asked), whole, rtol=1e-5)


def test_the_loss_is_weighted_cross_entropy_and_the_preferences() -> None:
    ours = learner("neumf", SECTION, clusters(), cold_preferences())
    with torch.no_grad():
        ours.network.users.weight *= 100
        ours.network.items.weight *= 100
    users, items = (table.weight.detach().numpy() for table in (ours.network.users, ours.network.items))
    batch = next(iter(ours.batches.epoch(np.random.default_rng(0))))
    drawn = ours.batches.negatives.draw(np.repeat(batch.users[:40], 2), np.random.default_rng(3)).reshape(
        40, 2
    )

    def score(user: int, item: int) -> float:
        return logit(ours.network, users[user], items[item])

    rows = list(zip(batch.users, batch.preferred, batch.weights, strict=True))
    main = sum(
        weight * (np.logaddexp(0, -score(user, item)) + sum(np.logaddexp(0, score(user, j)) for j in others))
        for (user, item, weight), others in zip(rows[:40], drawn, strict=True)
    )
    auxiliary = sum(
        weight * np.logaddexp(0, score(user, rejected) - score(user, item))
        for (user, item, weight), rejected in zip(rows[40:], batch.rejected, strict=True)
    )
    found = ours.loss((batch.users[:40], batch.preferred[:40], drawn), batch.weights[:40], False)
    beside = ours.loss((batch.users[40:], batch.preferred[40:], batch.rejected), batch.weights[40:], True)
    assert len(batch.rejected) > 0
    assert found[0].item() == pytest.approx(main, rel=1e-4)
    assert beside[0].item() == pytest.approx(auxiliary, rel=1e-4)
    squares = (users[batch.users[:40]] ** 2).sum() + (items[batch.preferred[:40]] ** 2).sum()
    assert found[1].item() == pytest.approx(squares + (items[drawn] ** 2).sum(), rel=1e-4)


def test_an_ad_hoc_user_is_the_mean_of_those_who_took_the_items() -> None:
    train = interactions([[0], [0, 1], [1], [2]], 3, [[], [], [0], []], weight=0.5)
    ours = learner("neumf", SECTION, train)
    vectors, folds = ours.weights()["users.weight"], ours.weights()["folds"]
    np.testing.assert_allclose(folds[0], (vectors[0] + vectors[1] + 0.5 * vectors[2]) / 2.5, rtol=1e-5)
    np.testing.assert_allclose(folds[2], vectors[3], rtol=1e-5)
    model = build("neumf", SECTION).fit(train)
    model.restore(ours.weights())
    _, scores = model.recommend_history([np.array([0, 1])], 3, exclude_seen=False)
    user = (folds[0] + folds[1]) / 2
    expected = sorted(
        (logit(ours.network, user, item) for item in ours.weights()["items.weight"]), reverse=True
    )
    np.testing.assert_allclose(scores[0], expected, rtol=1e-4, atol=1e-6)


def test_tastes_are_learnt_and_folded_in() -> None:
    train = clusters()
    section = NeuMFSection(dim=8, hidden=[16, 8], epochs=60, lr=0.02, batch=64, l2=0.0)
    model = build("neumf", section, seed=1).fit(train)
    known, _ = model.recommend(np.arange(1, 60), 4)
    assert ((known >= 11) == (np.arange(1, 60) % 2 == 1)[:, None])[known >= 0].mean() > 0.9
    ad_hoc, _ = model.recommend_history([np.array([1, 2, 3]), np.array([12, 13, 14])], 4)
    assert (ad_hoc[0] < 11).all() and (ad_hoc[1] >= 11).all()


@pytest.mark.parametrize("hidden", [[7, 4], [8]])
def test_a_perceptron_that_cannot_be_built_is_refused(hidden: list[int]) -> None:
    with pytest.raises(ValidationError, match="hidden"):
        NeuMFSection(hidden=hidden)
