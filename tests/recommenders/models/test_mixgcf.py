"""A step of MixGCF is the published one, written out: mix first, then choose, layer by layer."""

import numpy as np
import torch
from torch.nn import functional

from longtail.recommenders.models.mixgcf import MixGCFSection
from tests.recommenders.conftest import clusters
from tests.recommenders.learners import cold_preferences, dense, every_layer, learner


def test_the_gradient_is_that_of_the_loss_as_published() -> None:
    train = clusters()
    section = MixGCFSection(dim=4, layers=2, batch=40, negatives=5, l2=0.1)
    ours = learner("mixgcf", section, train, cold_preferences())
    batch = next(iter(ours.batches.epoch(np.random.default_rng(0))))
    loss = ours.learn(batch, np.random.default_rng(5))

    rng = np.random.default_rng(5)
    drawn = ours.batches.negatives.draw(np.repeat(batch.users[:40], 5), rng).reshape(40, 5) + ours.n_users
    shares = torch.from_numpy(rng.random((3, 40, 1), np.float32))
    theirs = ours.embeddings.clone().requires_grad_()
    layers = every_layer(dense(train.matrix.toarray()), theirs, 2)
    final, preferred, rejected = layers.mean(0), batch.preferred + 60, batch.rejected + 60
    parts, first = [], None
    for layer, share in zip(layers, shares, strict=True):
        mixed = share[:, None] * layer[preferred[:40]][:, None] + (1 - share[:, None]) * layer[drawn]
        hardest = (final[batch.users[:40]][:, None] * mixed).sum(-1).argmax(1)
        parts.append(mixed[torch.arange(40), hardest])
        first = drawn[np.arange(40), hardest] if first is None else first
    negative = torch.cat([sum(parts) / 3, final[rejected]])
    difference = (final[batch.users] * (final[preferred] - negative)).sum(1)
    expected = (torch.tensor(batch.weights) * functional.softplus(-difference)).sum()
    squares = sum(theirs[part].square().sum() for part in (batch.users, preferred, rejected, first))
    ((expected + section.l2 / 2 * squares) / 40).backward()
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(ours.embeddings.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_mixed_negatives_are_harder_than_drawn_ones() -> None:
    """From the same start the loss is larger, the more so the more candidates there are."""
    losses = []
    for negatives in (1, 4, 16):
        ours = learner(
            "mixgcf", MixGCFSection(dim=8, batch=64, negatives=negatives), clusters(users=300, n_items=60)
        )
        ours.embeddings *= 10
        batches = ours.batches.epoch(np.random.default_rng(0))
        losses.append(sum(ours.learn(batch, np.random.default_rng(1)).item() for batch in batches))
    assert losses[0] < losses[1] < losses[2]
