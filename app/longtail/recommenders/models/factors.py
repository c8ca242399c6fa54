"""Embeddings of users and items, trained pairwise: BPR-MF and LightGCN, and what MixGCF and SGL share with them.

Split by embedding dimension: everything here is linear in the embeddings but the loss, and the loss needs only the
score differences of a batch. So each of W workers holds D / W columns of all embeddings, propagates them over the whole
graph, and the batch's partial differences y_ui - y_uj are all that is summed between workers: one float for each
pair, that is 4 x batch bytes a step where data parallelism would sum 4 x nodes x D. The gradient of a column follows
from that sum without any further exchange, so W workers do what one does, to rounding.
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional

from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.propagation import Propagation
from longtail.recommenders.scoring.dot_products import DotRecommender
from longtail.recommenders.training.sampling import Batch, Batches
from longtail.recommenders.training.trained import TrainedRecommender
from longtail.recommenders.training.training_loop import Arrays, Learner, sum_over_workers, workers

INITIAL_SCALE = 0.1
"""Standard deviation of the embeddings at the start, as in the LightGCN authors' code."""


class FactorsLearner(Learner):
    """Adam on BPR (1205.2618): the sum over a batch of r_ui softplus(y_uj - y_ui) / batch with a uniform negative j each,
    plus lambda times the same of the batch's share of preferences, plus l2 / 2 of the squared E0 of all these
    u, i, j / batch (LightGCN, equation 15). What is drawn does not depend on the number of workers.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        self.batches, self.l2, self.device = Batches(arrays, settings), settings["l2"], device
        ratings = self.batches.ratings
        self.n_users, nodes = ratings.shape[0], sum(ratings.shape)
        self.columns = np.array_split(np.arange(settings["dim"]), workers()[1])
        self.propagation = Propagation(ratings, settings.get("layers", 0), device)
        own = self.columns[workers()[0]]
        self.embeddings = _initial(nodes, own, settings["seed"]).to(device)
        self.adam = torch.optim.Adam([self.embeddings], lr=settings["lr"], fused=True)
        self.place = np.empty(nodes, np.int64)
        self.exchanged = 0
        """Floats that this worker gave to sums over workers."""

    def epoch(self, rng: np.random.Generator) -> float:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self.batches.epoch(rng):
            total += self.learn(batch, rng)
            self.adam.step()
        return total.item() / self.batches.divisor

    def learn(self, batch: Batch, rng: np.random.Generator) -> torch.Tensor:
        """Leave the gradient with the embeddings; answers the batch's sum of losses, without the regulariser."""
        drawn = self.batches.negatives.draw(batch.users[: batch.size], rng)
        rejected = np.concatenate([drawn, batch.rejected])
        nodes, places = self.compact(
            batch.users, *(items + self.n_users for items in (batch.preferred, rejected))
        )
        layers = self.propagation.at(self.embeddings, nodes).requires_grad_()
        users, preferred, rejected = (layers.mean(0).index_select(0, place) for place in places)
        loss = self.pairwise((users * (preferred - rejected)).sum(1), batch)
        self.back(layers.grad, nodes, torch.cat(places), batch.divisor)
        return loss

    def compact(self, *parts: np.ndarray) -> tuple[np.ndarray, list[torch.Tensor]]:
        """The nodes of int64 parts, each once, ascending, and where each part's nodes are among them."""
        self.place.fill(-1)
        for part in parts:
            self.place[part] = 0
        nodes = np.flatnonzero(self.place == 0)
        self.place[nodes] = np.arange(len(nodes))
        return nodes, [torch.from_numpy(self.place[part]).to(self.device) for part in parts]

    def pairwise(self, partial: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Back-propagate from this worker's part of the score differences [n]; answers the sum of the losses."""
        difference = self.summed(partial)
        weights = torch.from_numpy(batch.weights).to(self.device)
        partial.backward(weights * torch.sigmoid(-difference) / -batch.divisor)
        return (weights * functional.softplus(-difference)).sum()

    def summed(self, partial: torch.Tensor) -> torch.Tensor:
        """The sum over workers, outside of autograd."""
        self.exchanged += partial.numel()
        return sum_over_workers(partial.detach().clone())

    def back(
        self, by_layer: torch.Tensor, nodes: np.ndarray, regularised: torch.Tensor, divisor: int
    ) -> None:
        """From the gradient of the layers [layers + 1, nodes, d], and the places int64 that pay l2 each time they occur."""
        often = torch.bincount(regularised, minlength=len(nodes))[:, None]
        rows = torch.from_numpy(nodes).to(self.device)
        by_layer[0] += self.embeddings[rows] * (often * (self.l2 / divisor))
        self.embeddings.grad = self.propagation.back(by_layer, nodes, self.embeddings)

    def weights(self) -> Arrays:
        layers = self.propagation.everywhere(self.embeddings)
        found = _gather(sum(layers) / len(layers), self.columns)
        # What an item gives its users is e_i^(k) for k < layers over sqrt(its degree); without layers it is e_i.
        given = sum(layers[:-1]) * self.propagation.scales[:, None] if len(layers) > 1 else layers[0]
        return {
            "users": found[: self.n_users],
            "items": found[self.n_users :],
            "folds": _gather(given, self.columns)[self.n_users :],
        }

    def state(self) -> Arrays:
        adam = self.adam.state.get(self.embeddings, {})
        parts = {"embeddings": self.embeddings} | {name: adam[name] for name in MOMENTS if adam}
        steps = adam.get("step", torch.zeros(()))
        return {name: _gather(part, self.columns) for name, part in parts.items()} | {
            "steps": steps.cpu().numpy()
        }

    def restore(self, state: Arrays) -> None:
        own = self.columns[workers()[0]]
        # In C order: the fused Adam takes its moments to lie in memory as the embeddings do.
        held = {
            name: torch.tensor(np.ascontiguousarray(state[name][:, own])).to(self.device)
            for name in state.keys() - {"steps"}
        }
        self.embeddings.copy_(held.pop("embeddings"))
        if held:
            self.adam.state[self.embeddings] = held | {"step": torch.tensor(state["steps"]).to(self.device)}


class Factors(TrainedRecommender, DotRecommender):
    """Scores are dot products of the embeddings that training ended with.

    A user of the training set keeps the vector of the fit, whatever the history that is asked with. An ad-hoc user, or
    one who had no item then, is folded in: the sum of what the items of the history give a user of theirs (`folds`),
    scaled to the mean norm of the known users; the ranking does not depend on that scale.
    """

    learner = FactorsLearner
    users: np.ndarray
    """float32 [users, dim]."""
    folds: np.ndarray
    """float32 [items, dim]."""

    def most_workers(self) -> int:
        return min(self.compute.workers, self.section.dim)  # each holds a column at least

    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        return self.kept_or_folded(self.users, self._folded, histories, users)

    def _folded(self, histories: Histories) -> np.ndarray:
        """float32 [rows, dim]."""
        ones = np.ones(len(histories.items), np.float32)
        found = histories.matrix(ones, self.n_items) @ self.folds
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        known = np.linalg.norm(self.users[self.seen.lengths > 0], axis=1)
        return found / np.maximum(norms, 1e-12) * np.float32(known.mean() if len(known) else 1)

    def arrays(self) -> Arrays:
        return {"users": self.users, "items": self.items, "folds": self.folds, "warm": self.warm}

    def restore(self, arrays: Arrays) -> None:
        self.users, self.items, self.folds = arrays["users"], arrays["items"], arrays["folds"]
        if "warm" in arrays:
            self.warm = arrays["warm"]


MOMENTS = ("exp_avg", "exp_avg_sq")
"""What torch's Adam calls its two averages."""


def _initial(nodes: int, columns: np.ndarray, seed: int) -> torch.Tensor:
    """float32 [nodes, columns]; every column has its own stream, whoever holds it."""
    drawn = [np.random.default_rng([seed, column]).standard_normal(nodes, np.float32) for column in columns]
    return torch.from_numpy(np.stack(drawn, axis=1) * np.float32(INITIAL_SCALE))


def _gather(own: torch.Tensor, columns: list[np.ndarray]) -> np.ndarray:
    """All columns, in order, float32 [nodes, dim]."""
    if not dist.is_initialized():
        return own.cpu().numpy().copy()
    widest = len(columns[0])  # collectives want equal shapes
    padded = functional.pad(own, (0, widest - own.shape[1])).contiguous()
    parts = [torch.empty_like(padded) for _ in columns]
    dist.all_gather(parts, padded)
    return torch.cat([part[:, : len(c)] for part, c in zip(parts, columns, strict=True)], dim=1).cpu().numpy()
