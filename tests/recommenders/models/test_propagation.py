"""Restricted to a batch, the propagation and its backward pass are the rows of the full ones."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from longtail.recommenders.models.propagation import Propagation
from tests.recommenders.conftest import clusters
from tests.recommenders.learners import CPU, dense, every_layer


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_layers_and_gradients_are_those_of_the_dense_graph(layers: int, on_cpu: bool) -> None:
    """`on_cpu` False is the way that other devices take: whole products, no kernels of ours."""
    ratings = clusters().matrix
    propagation = Propagation(ratings, layers, CPU)
    propagation.on_cpu = on_cpu
    embeddings = torch.randn(sum(ratings.shape), 5)
    theirs = embeddings.clone().requires_grad_()
    expected = every_layer(dense(ratings.toarray()), theirs, layers)
    nodes = np.array([0, 3, 17, 59, 60, 71, 83])
    upstream = torch.randn(layers + 1, len(nodes), 5)
    (expected[:, nodes] * upstream).sum().backward()
    for _ in range(2):  # buffers of the first turn must not be felt in the second
        found = propagation.at(embeddings, nodes)
        torch.testing.assert_close(found, expected[:, nodes].detach(), rtol=1e-4, atol=1e-5)
        gradient = propagation.back(upstream, nodes, embeddings)
        torch.testing.assert_close(gradient, theirs.grad, rtol=1e-4, atol=1e-5)
    whole = torch.stack(propagation.everywhere(embeddings))
    torch.testing.assert_close(whole, expected.detach(), rtol=1e-4, atol=1e-5)


def test_an_edge_of_vanishing_weight_is_no_edge() -> None:
    strong = np.random.default_rng(0).integers(0, 2, (6, 5)).astype(np.float32)
    faint = strong.copy()
    faint[strong == 0] = 1e-12
    embeddings = torch.randn(11, 3)
    found, expected = (Propagation(csr_matrix(r), 2, CPU).everywhere(embeddings)[-1] for r in (faint, strong))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
