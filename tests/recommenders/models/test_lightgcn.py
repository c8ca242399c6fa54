"""Our LightGCN is that of PyTorch Geometric, and an ad-hoc user is one whom the graph would have met."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.lightgcn import LightGCNSection
from tests.recommenders.conftest import clusters, interactions
from tests.recommenders.learners import dense, learner


def both_ways(
    train: Interactions, section: LightGCNSection, epochs: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The losses of PyG's model and of ours over the same batches, from the same start; the embeddings must agree too.
    PyG's regulariser is lambda |E0|^2 / batch where ours is l2 / 2 |E0|^2 / batch.
    """
    models = pytest.importorskip("torch_geometric.nn.models")
    ours = learner("lightgcn", section, train)
    theirs = models.LightGCN(sum(train.matrix.shape), section.dim, section.layers)
    theirs.embedding.weight.data.copy_(ours.embeddings)
    adam = torch.optim.Adam(theirs.parameters(), lr=section.lr)
    users, items = (torch.tensor(part.astype(np.int64)) for part in train.matrix.nonzero())
    edges = torch.stack([users, items + ours.n_users])
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    losses = []
    for epoch in range(epochs):
        for _, batch in zip(range(steps), ours.batches.epoch(np.random.default_rng(epoch)), strict=False):
            drawn = ours.batches.negatives.draw(batch.users, np.random.default_rng([1, epoch]))
            own = ours.learn(batch, np.random.default_rng([1, epoch])).item() / batch.divisor
            ours.adam.step()
            asked, liked, other = (
                torch.tensor(part)
                for part in (batch.users, batch.preferred + ours.n_users, drawn + ours.n_users)
            )
            adam.zero_grad()
            labels = torch.stack([torch.cat([asked, asked]), torch.cat([liked, other])])
            high, low = theirs(edges, labels).chunk(2)
            pure = theirs.recommendation_loss(high, low, None, lambda_reg=0.0).item()
            nodes = torch.cat([asked, liked, other])
            theirs.recommendation_loss(high, low, nodes, lambda_reg=section.l2 / 2).backward()
            adam.step()
            losses.append((pure, own))
    torch.testing.assert_close(ours.embeddings, theirs.embedding.weight.detach(), rtol=1e-2, atol=1e-4)
    return tuple(np.array(losses).T)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_learning_curve_is_that_of_pyg(layers: int) -> None:
    train = clusters()
    train = Interactions(
        train.indptr, train.items, np.ones_like(train.weights), train.observed, train.n_items
    )
    section = LightGCNSection(dim=8, layers=layers, lr=0.01, l2=0.01, batch=100)
    theirs, ours = both_ways(train, section, epochs=5, steps=100)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert theirs[-1] < 0.9 * theirs[0]


def test_the_first_steps_on_gowalla_are_those_of_pyg(real_data: Callable[[str], Path]) -> None:
    table = pq.read_table(real_data("lightgcn-gowalla") / "train.parquet").sort_by("user")
    counts = np.bincount(table["user"].to_numpy())
    items = table["item"].to_numpy().astype(np.int32)
    ones = np.ones(len(items), np.float32)
    train = Interactions(np.concatenate([[0], np.cumsum(counts)]), items, ones, counts, items.max() + 1)
    theirs, ours = both_ways(train, LightGCNSection(dim=8, layers=2, lr=0.01), epochs=1, steps=3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("layers", [1, 2])
def test_an_ad_hoc_user_is_what_the_graph_would_give_one_without_an_embedding(layers: int) -> None:
    """e_u = mean over k of sum_i e_i^(k-1) / sqrt(|N_u| |N_i|), up to a scale, which ranks alike."""
    train, history = clusters(), np.array([1, 4, 7])
    section = LightGCNSection(dim=6, layers=layers, epochs=1)
    start = learner("lightgcn", section, train)
    model = build("lightgcn", section).fit(train)
    model.restore(start.weights())
    ratings = train.matrix.toarray()
    powers = [np.linalg.matrix_power(dense(ratings), k) @ start.embeddings.numpy() for k in range(layers)]
    degrees = ratings.sum(axis=0)[history]
    expected = sum((power[60:][history] / np.sqrt(degrees)[:, None]).sum(0) for power in powers)
    items, scores = model.recommend_history([history], 5)
    cosines = (model.items @ expected)[items[0]] / np.linalg.norm(expected)
    np.testing.assert_allclose(scores[0] / np.linalg.norm(model.users[1:], axis=1).mean(), cosines, rtol=1e-3)


def test_folding_in_a_known_history_finds_the_user_again() -> None:
    train = clusters(users=200, n_items=60)
    model = build("lightgcn", LightGCNSection(dim=16, epochs=40, lr=0.01, batch=256), seed=3).fit(train)
    users = np.arange(1, 200)
    known, _ = model.recommend(users, 10)
    folded, _ = model.recommend_history(train.histories(users), 10)
    common = [
        len(set(one.tolist()) & set(other.tolist())) / 10 for one, other in zip(known, folded, strict=True)
    ]
    assert np.mean(common) > 0.6


def test_weights_are_edges() -> None:
    """The same history with other weights is another user."""
    rows = [[0, 1], [0, 2], [1, 2], [3]]
    light, heavy = (interactions([[0], [0, 2], [1, 2], [3]], 4, [[1], [], [], []], w) for w in (0.1, 1.0))
    plain = interactions(rows, 4)
    found = [
        learner("lightgcn", LightGCNSection(dim=4), train).weights()["users"][0]
        for train in (light, heavy, plain)
    ]
    np.testing.assert_allclose(found[1], found[2], rtol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
