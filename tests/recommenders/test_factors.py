"""The gradient written out by hand is the gradient, and weights act as the papers' formulas say."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.nn import functional

from app.errors import InputError
from app.recipe import BPR, LightGCN
from app.recommenders import build
from app.recommenders.factors import Propagation, _step
from app.recommenders.sampling import Negatives
from tests.recommenders.conftest import clusters, interactions

CPU = torch.device("cpu")


def dense(ratings: np.ndarray, layers: int) -> np.ndarray:
    """mean_k Â^k of the bipartite graph, written out."""
    users, items = ratings.shape
    adjacency = np.block([[np.zeros((users, users)), ratings], [ratings.T, np.zeros((items, items))]])
    scale = np.where(adjacency.sum(1) > 0, np.maximum(adjacency.sum(1), 1e-30) ** -0.5, 0)
    normalised = scale[:, None] * adjacency * scale
    return np.mean([np.linalg.matrix_power(normalised, k) for k in range(layers + 1)], axis=0)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_is_the_mean_of_the_powers_of_the_normalised_graph(layers: int) -> None:
    ratings = clusters().matrix.astype(np.float32)
    embeddings = torch.randn(sum(ratings.shape), 5)
    found = Propagation(ratings, layers, CPU)(embeddings).numpy()
    expected = dense(ratings.toarray(), layers) @ embeddings.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layers", [0, 2])
def test_the_gradient_is_that_of_autograd(layers: int) -> None:
    ratings = clusters().matrix.astype(np.float32)
    n_users, generator = ratings.shape[0], torch.Generator().manual_seed(0)
    nodes = torch.stack(
        [
            torch.randint(0, n_users, (32,), generator=generator),
            torch.randint(n_users, sum(ratings.shape), (32,), generator=generator),
            torch.randint(n_users, sum(ratings.shape), (32,), generator=generator),
        ]
    )
    weights, l2 = torch.rand(32, generator=generator), 0.1
    ours = torch.randn(sum(ratings.shape), 4, generator=generator)
    theirs = ours.clone().requires_grad_()

    _step(ours, Propagation(ratings, layers, CPU), torch.optim.SGD([ours], lr=0.0), nodes, weights, l2)

    spread = torch.tensor(dense(ratings.toarray(), layers), dtype=torch.float32) @ theirs
    users, positives, negatives = spread[nodes]
    difference = (users * positives).sum(1) - (users * negatives).sum(1)
    loss = (weights * functional.softplus(-difference)).sum() / 32
    (loss + l2 / 2 * theirs[nodes].pow(2).sum() / 32).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_an_edge_of_vanishing_weight_is_no_edge() -> None:
    strong = np.random.default_rng(0).integers(0, 2, (6, 5)).astype(np.float32)
    faint = strong.copy()
    faint[strong == 0] = 1e-12
    embeddings = torch.randn(11, 3)
    found, expected = (Propagation(csr_matrix(r), 2, CPU)(embeddings) for r in (faint, strong))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_negatives_are_warm_untaken_and_uniform() -> None:
    train = clusters()
    taken = train.matrix
    negatives, users = Negatives(taken), np.repeat(np.arange(1, 60), 400)
    drawn = negatives.draw(users, np.random.default_rng(0))
    assert (taken[users, drawn] == 0).all() and not np.isin(drawn, [22, 23]).any()
    counts = np.bincount(drawn[users == 1], minlength=24)
    possible = np.setdiff1d(np.arange(22), taken[1].indices)
    expected = 400 / len(possible)
    assert (
        (counts[possible] - expected) ** 2 / expected
    ).sum() < 40  # chi-square, 13 degrees of freedom, p < 2e-4


def test_a_user_who_took_everything_is_skipped() -> None:
    train = interactions([[0, 1, 2], [0, 1]], 3)
    assert Negatives(train.matrix).possible.tolist() == [False, True]
    items, _ = build("bpr", BPR(dim=4, epochs=2)).fit(train).recommend(np.array([0, 1]), 3)
    assert items[0].tolist() == [-1, -1, -1] and items[1].tolist() == [2, -1, -1]


def test_generated_interactions_teach_less_than_observed_ones() -> None:
    """With the weight of the generated items near 0 their scores are those of items that the user did not
    take.
    """
    observed, generated = (
        [[user % 4, 4 + user % 4] for user in range(40)],
        [[8 + user % 2] for user in range(40)],
    )
    gains = []
    for weight in (1.0, 0.3, 1e-6):
        train = interactions(observed, 10, generated, weight)
        model = build("bpr", BPR(dim=8, epochs=40, lr=0.02, l2=0.0), seed=5).fit(train)
        margin = [model.users[u] @ (model.items[8 + u % 2] - model.items[9 - u % 2]) for u in range(40)]
        gains.append(np.mean(margin))
    assert gains[0] > gains[1] > gains[2]


@pytest.mark.parametrize(("name", "section"), [("bpr", BPR), ("lightgcn", LightGCN)])
def test_a_loss_that_explodes_is_an_input_error(name: str, section: type) -> None:
    with pytest.raises(InputError, match="lower lr"):
        build(name, section(dim=4, epochs=30, lr=1e30)).fit(clusters())
