"""SGL's views leave out what they should, and its contrastive gradient is that of InfoNCE written out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders import build
from longtail.recommenders.models.sgl import SGLSection
from longtail.recommenders.models.sgl_model import info_nce, without_edges
from longtail.recommenders.training.compute import Compute
from tests.recommenders.conftest import clusters
from tests.recommenders.learners import every_layer, learner


@given(st.floats(0, 0.99), st.integers(0, 1000))
def test_a_view_is_the_graph_less_its_share_of_the_edges(share: float, seed: int) -> None:
    ratings = clusters().matrix
    view = without_edges(ratings, share, np.random.default_rng(seed))
    assert view.shape == ratings.shape and view.nnz == ratings.nnz - round(share * ratings.nnz)
    kept = view.toarray() > 0
    np.testing.assert_array_equal(view.toarray()[kept], ratings.toarray()[kept])


def test_info_nce_is_its_definition() -> None:
    one, other = torch.randn(7, 3), torch.randn(7, 3)
    cosine = [[float(torch.cosine_similarity(a, b, dim=0)) for b in other] for a in one]
    weights = np.exp(np.array(cosine) / 0.2)
    expected = -np.log(np.diag(weights) / weights.sum(axis=1)).mean()
    assert float(info_nce(one, other, 0.2)) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_adds_the_contrast_of_the_batch_to_that_of_lightgcn() -> None:
    train = clusters()
    section = SGLSection(dim=4, layers=2, batch=40, contrast_weight=0.3, dropout=0.2)
    ours, plain = (learner(name, section, train) for name in ("sgl", "lightgcn"))
    ours.epoch(np.random.default_rng(1))  # draws the views
    plain.embeddings.copy_(ours.embeddings)
    batch = next(iter(ours.batches.epoch(np.random.default_rng(0))))
    for model in (ours, plain):
        model.learn(batch, np.random.default_rng(5))
    theirs = ours.embeddings.clone().requires_grad_()
    one, other = (every_layer(view.graph.toarray(), theirs, 2).mean(0) for view in ours.views)
    assert not np.array_equal(ours.views[0].graph.toarray(), ours.views[1].graph.toarray())
    users, items = np.unique(batch.users), np.unique(batch.preferred) + 60
    (0.3 * sum(info_nce(one[nodes], other[nodes], 0.2) for nodes in (users, items))).backward()
    torch.testing.assert_close(
        ours.embeddings.grad, plain.embeddings.grad + theirs.grad, rtol=1e-4, atol=1e-6
    )


def test_without_contrast_it_is_lightgcn() -> None:
    section = SGLSection(dim=4, contrast_weight=0.0, batch=64)
    ours, plain = (learner(name, section, clusters()) for name in ("sgl", "lightgcn"))
    ours.epoch(np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for _ in range(2):  # the views are drawn first
        without_edges(clusters().matrix, section.dropout, rng)
    plain.epoch(rng)
    torch.testing.assert_close(ours.embeddings, plain.embeddings)


def test_one_worker_trains_it() -> None:
    assert build("sgl", SGLSection(), compute=Compute(workers=4)).most_workers() == 1
    assert build("sgl", SGLSection(), compute=Compute(workers=0)).most_workers() == 0
