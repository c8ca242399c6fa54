"""Embeddings of users and items trained with the BPR loss: what LightGCN and, with 0 layers, BPR-MF share.

Split by embedding dimension: everything here is linear in the embeddings but the loss, and the loss needs
only the score differences of a batch. So each of W workers holds D / W columns of all embeddings, propagates
them over the whole graph, and the batch's partial score differences (one float an interaction) are all that
is summed between workers. The gradient of a column follows from that sum without any further exchange, so W
workers do what one does, to rounding.
"""

import warnings
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from scipy.sparse import csr_matrix
from torch.nn import functional

from app.recipe import BPR, LightGCN
from app.recommenders.base import Interactions
from app.recommenders.ranker import Histories, Ranker
from app.recommenders.sampling import Negatives
from app.recommenders.training import Arrays, Progress, run_distributed, sum_over_workers, workers

INITIAL_SCALE = 0.1
"""Standard deviation of the embeddings at the start, as in the LightGCN authors' code."""


class Factors(Ranker):
    """Scores are dot products. An ad-hoc user is the mean of the items of the history, scaled to the mean
    norm of the known users; the ranking does not depend on that scale.
    """

    section: BPR | LightGCN
    users: np.ndarray
    """float32 [users, dim]."""
    items: np.ndarray
    """float32 [items, dim]."""
    warm: np.ndarray
    """bool [items]: has a training interaction, hence a trained embedding."""

    @property
    def layers(self) -> int:
        return getattr(self.section, "layers", 0)

    def _fit(self, train: Interactions) -> None:
        taken = train.matrix
        taken.eliminate_zeros()
        self.warm = np.bincount(taken.indices, minlength=train.n_items) > 0
        arrays = {"indptr": taken.indptr, "indices": taken.indices, "weights": taken.data.astype(np.float32)}
        settings = self.section.model_dump() | {
            "name": self.name,
            "shape": taken.shape,
            "layers": self.layers,
            "seed": self.seed,
        }
        n_workers = min(self.workers, self.section.dim)  # each holds a column at least
        found = run_distributed(bpr_loop, arrays, settings, n_workers, self.use_gpu)
        self.users, self.items = np.split(found["embeddings"], [train.n_users])
        self.counts = {
            "seconds per epoch": float(found["seconds_per_epoch"]),
            "final_loss": float(found["losses"][-1]),
        }

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        scores = (self._folded(histories) if users is None else self.users[users]) @ self.items.T
        scores[:, ~self.warm] = -np.inf
        scores[histories.lengths == 0] = -np.inf
        return scores

    def _folded(self, histories: Histories) -> np.ndarray:
        """[rows, dim]; zero for an empty history."""
        ones = np.ones(len(histories.items), np.float32)
        mean = histories.matrix(ones, self.n_items) @ self.items
        norms = np.linalg.norm(mean, axis=1, keepdims=True)
        known = np.linalg.norm(self.users[self.seen.lengths > 0], axis=1)
        return mean / np.maximum(norms, 1e-12) * (known.mean() if len(known) else 1)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"users": self.users, "items": self.items, "warm": self.warm}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.users, self.items, self.warm = arrays["users"], arrays["items"], arrays["warm"]


class Propagation:
    """e -> mean over k = 0..layers of Â^k e (LightGCN, 2002.02126, equations 4 and 7), Â = D^-1/2 A D^-1/2.

    The interaction weights are the edges, so they enter the degrees too. As Â is symmetric, the operator is
    its own transpose, which makes it its own backward pass.
    """

    def __init__(self, ratings: csr_matrix, layers: int, device: torch.device) -> None:
        self.layers, self.n_users = layers, ratings.shape[0]
        if layers == 0:
            return
        by_user = np.asarray(ratings.sum(axis=1)).ravel()
        by_item = np.asarray(ratings.sum(axis=0)).ravel()
        rows = np.repeat(np.arange(self.n_users), np.diff(ratings.indptr))
        values = ratings.data / np.sqrt(by_user[rows] * by_item[ratings.indices])
        normalised = csr_matrix((values, ratings.indices, ratings.indptr), shape=ratings.shape)
        self.to_users = _tensor(normalised, device)
        self.to_items = _tensor(normalised.T.tocsr(), device)

    def __call__(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[users + items, d] -> [users + items, d]."""
        if self.layers == 0:
            return embeddings
        layer, total = embeddings, embeddings.clone()
        for _ in range(self.layers):
            users, items = layer[: self.n_users], layer[self.n_users :]
            layer = torch.cat([self.to_users @ items, self.to_items @ users])
            total += layer
        return total / (self.layers + 1)


def _tensor(matrix: csr_matrix, device: torch.device) -> torch.Tensor:
    parts = (torch.tensor(matrix.indptr), torch.tensor(matrix.indices), torch.tensor(matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            *parts, matrix.shape, dtype=torch.float32, device=device, check_invariants=True
        )


def bpr_loop(arrays: Arrays, settings: dict[str, Any], device: torch.device) -> Arrays:
    """Train embeddings by Adam on BPR (1205.2618): sum over a batch of r_ui softplus(y_uj - y_ui) / batch,
    one uniform negative j each, plus l2 / 2 of the squared E0 of u, i, j (LightGCN, equation 15). An epoch
    passes once over all.

    arrays: the users x items ratings as CSR (indptr, indices, weights). Answers float32 `embeddings`
    [users + items, dim], users first. What is drawn does not depend on the number of workers.
    """
    n_users, n_items = settings["shape"]
    ratings = csr_matrix((arrays["weights"], arrays["indices"], arrays["indptr"]), shape=(n_users, n_items))
    rank, n_workers = workers()
    columns = np.array_split(np.arange(settings["dim"]), n_workers)
    embeddings = _initial(n_users + n_items, columns[rank], settings["seed"]).to(device)
    adam = torch.optim.Adam([embeddings], lr=settings["lr"], fused=True)
    propagate = Propagation(ratings, settings["layers"], device)
    negatives = Negatives(ratings)
    rng = np.random.default_rng([settings["seed"], settings["dim"]])
    all_users = np.repeat(np.arange(n_users), np.diff(ratings.indptr))
    usable = np.flatnonzero(negatives.possible[all_users])
    progress = Progress(settings["name"], settings["epochs"])
    for _ in range(settings["epochs"]):
        order = rng.permutation(usable)
        drawn = negatives.draw(all_users[order], rng)
        nodes = torch.from_numpy(
            np.stack([all_users[order], ratings.indices[order] + n_users, drawn + n_users])
        )
        weights = torch.from_numpy(ratings.data[order])
        total = torch.zeros((), device=device)
        for start in range(0, len(order), settings["batch"]):
            batch = slice(start, start + settings["batch"])
            total += _step(
                embeddings,
                propagate,
                adam,
                nodes[:, batch].to(device),
                weights[batch].to(device),
                settings["l2"],
            )
        if not progress.epoch(total.item() / max(1, len(order))):
            break
    return {"embeddings": _gather(propagate(embeddings), columns)} | progress.arrays()


def _step(
    embeddings: torch.Tensor,
    propagate: Propagation,
    adam: torch.optim.Adam,
    nodes: torch.Tensor,
    weights: torch.Tensor,
    l2: float,
) -> torch.Tensor:
    """One step of Adam on this worker's columns; nodes int64 [3, batch] are users, positives, negatives.
    Answers the sum of the batch's losses without the regulariser. The gradient is written out: it is shorter
    than to hook the sum over workers into autograd.
    """
    users, positives, negatives = propagate(embeddings)[nodes]
    difference = sum_over_workers((users * (positives - negatives)).sum(1))
    slope = (-weights * torch.sigmoid(-difference) / len(weights))[:, None]  # d loss / d difference
    by_score = torch.cat([slope * (positives - negatives), slope * users, -slope * users])
    flat = nodes.reshape(-1)
    gradient = propagate(torch.zeros_like(embeddings).index_add_(0, flat, by_score))
    gradient.index_add_(0, flat, embeddings[flat] * (l2 / len(weights)))
    embeddings.grad = gradient
    adam.step()
    return (weights * functional.softplus(-difference)).sum()


def _initial(nodes: int, columns: np.ndarray, seed: int) -> torch.Tensor:
    """float32 [nodes, columns]; every column has its own stream, whoever holds it."""
    drawn = [np.random.default_rng([seed, column]).standard_normal(nodes, np.float32) for column in columns]
    return torch.from_numpy(np.stack(drawn, axis=1) * np.float32(INITIAL_SCALE))


def _gather(own: torch.Tensor, columns: list[np.ndarray]) -> np.ndarray:
    """All columns, in order, float32 [nodes, dim]."""
    if not dist.is_initialized():
        return own.cpu().numpy()
    widest = len(columns[0])  # collectives want equal shapes
    padded = functional.pad(own, (0, widest - own.shape[1])).contiguous()
    parts = [torch.empty_like(padded) for _ in columns]
    dist.all_gather(parts, padded)
    return torch.cat([part[:, : len(c)] for part, c in zip(parts, columns, strict=True)], dim=1).cpu().numpy()
