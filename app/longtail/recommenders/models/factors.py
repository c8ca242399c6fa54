"""Embeddings of users and items, trained with a pairwise loss: BPR-MF, LightGCN, and the base of MixGCF and SGL.

The embeddings are split between workers by dimension. Everything except the loss is linear in the embeddings, and the
loss needs only the score differences of a batch. So each of W workers holds D / W columns of all embeddings and
propagates them over the whole graph. Only the partial differences y_ui - y_uj of the batch are summed over workers: one
float per pair, 4 x batch bytes per step, while data parallelism would sum 4 x nodes x D bytes. Each worker computes the
gradients of its columns from that sum without more communication. So W workers give the same result as one, except for
rounding.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn import functional

from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.propagation import Propagation
from longtail.recommenders.scoring.dot_products import DotRecommender
from longtail.recommenders.training.sampling import Batch, Batches
from longtail.recommenders.training.trained import MAP, TrainedRecommender
from longtail.recommenders.training.training_loop import Arrays, Learner, sum_over_workers, workers

INITIAL_SCALE = 0.1
"""Standard deviation of the embeddings at the start, as in the LightGCN authors' code."""


class FactorsLearner(Learner):
    """Trains with Adam on the BPR loss (arXiv 1205.2618). The loss of a batch is the sum of these parts, divided by the
    batch size (with regularisation as in LightGCN, arXiv 2002.02126, equation 15):

    - r_ui softplus(y_uj - y_ui) for each interaction, with one uniform negative j each;
    - lambda times the same for the preferences that belong to the batch, weighted by confidence;
    - l2 / 2 times the squared embeddings of layer 0 of all these u, i and j.

    With `text`, the embedding of an item is a free vector plus a linear map of its text. Columns of the map belong to
    columns of the embeddings, so nothing more is sent between workers. An item that is not in the log has the map of its
    text alone, and nothing is learnt from it, see `TextEmbedding`.

    The random draws do not depend on the number of workers.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        self.batches, self.l2, self.device = Batches(arrays, settings), settings["l2"], device
        ratings = self.batches.ratings
        self.n_users, nodes = ratings.shape[0], sum(ratings.shape)
        self.columns = np.array_split(np.arange(settings["dim"]), workers()[1])
        self.propagation = Propagation(ratings, settings.get("layers", 0), device)
        own = self.columns[workers()[0]]
        self.free = _initial(nodes, own, INITIAL_SCALE, settings["seed"]).to(device)
        self.trained, self.embeddings, self.text = {"free": self.free}, self.free, None
        if "item_text" in arrays:
            self.text = torch.from_numpy(arrays["item_text"]).to(device)
            self.fixed = torch.from_numpy(self.n_users + np.flatnonzero(~arrays["item_known"])).to(device)
            self.free[self.fixed] = 0
            width = self.text.shape[1]
            self.map = _initial(width, own, INITIAL_SCALE / width**0.5, settings["seed"], 1).to(device)
            self.trained, self.embeddings = self.trained | {"map": self.map}, torch.empty_like(self.free)
            self.compose()
        self.adam = torch.optim.Adam([*self.trained.values()], lr=settings["lr"], fused=True)
        self.place = np.empty(nodes, np.int64)
        self.exchanged = 0
        """The number of floats that this worker has sent to sums over workers."""

    def epoch(self, rng: np.random.Generator) -> float:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for batch in self.batches.epoch(rng):
            total += self.learn(batch, rng)
            self.step()
        return total.item() / self.batches.divisor

    def step(self) -> None:
        """A step of Adam with the gradient of the embeddings."""
        if self.text is not None:
            self.embeddings.grad[self.fixed] = 0
            self.free.grad = self.embeddings.grad
            self.map.grad = self.text.T @ self.embeddings.grad[self.n_users :]
        self.adam.step()
        self.compose()

    def compose(self) -> None:
        """With texts, set the embeddings: the free vectors, and to those of items the mapped texts are added."""
        if self.text is not None:
            self.embeddings.copy_(self.free)
            self.embeddings[self.n_users :].addmm_(self.text, self.map)

    def learn(self, batch: Batch, rng: np.random.Generator) -> torch.Tensor:
        """Set the gradient of the embeddings. Returns the sum of the losses of the batch, without regularisation."""
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
        """The nodes of all `parts` (int64), each once and ascending, and for each part the places of its nodes in them."""
        self.place.fill(-1)
        for part in parts:
            self.place[part] = 0
        nodes = np.flatnonzero(self.place == 0)
        self.place[nodes] = np.arange(len(nodes))
        return nodes, [torch.from_numpy(self.place[part]).to(self.device) for part in parts]

    def pairwise(self, partial: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Back-propagate from this worker's part of the score differences [n]. Returns the sum of the losses."""
        difference = self.summed(partial)
        weights = torch.from_numpy(batch.weights).to(self.device)
        partial.backward(weights * torch.sigmoid(-difference) / -batch.divisor)
        return (weights * functional.softplus(-difference)).sum()

    def summed(self, partial: torch.Tensor) -> torch.Tensor:
        """The sum over workers, without autograd."""
        self.exchanged += partial.numel()
        return sum_over_workers(partial.detach().clone())

    def back(
        self, by_layer: torch.Tensor, nodes: np.ndarray, regularised: torch.Tensor, divisor: int
    ) -> None:
        """Set the gradient of the embeddings from that of the layers, `by_layer` [layers + 1, nodes, d].

        `regularised` int64: places in `nodes` that are regularised, once for each time that they occur.
        """
        often = torch.bincount(regularised, minlength=len(nodes))[:, None]
        rows = torch.from_numpy(nodes).to(self.device)
        by_layer[0] += self.embeddings[rows] * (often * (self.l2 / divisor))
        self.embeddings.grad = self.propagation.back(by_layer, nodes, self.embeddings)

    def weights(self) -> Arrays:
        layers = self.propagation.everywhere(self.embeddings)
        found = _gather(sum(layers) / len(layers), self.columns)
        # An item adds e_i^(k) / sqrt(degree of i), summed over k < layers, to each of its users; without layers e_i.
        given = sum(layers[:-1]) * self.propagation.scales[:, None] if len(layers) > 1 else layers[0]
        return {
            "users": found[: self.n_users],
            "items": found[self.n_users :],
            "folds": _gather(given, self.columns)[self.n_users :],
        } | ({} if self.text is None else {MAP: _gather(self.map, self.columns)})

    def state(self) -> Arrays:
        found, steps = {}, torch.zeros(())
        for name, tensor in self.trained.items():
            adam = self.adam.state.get(tensor, {})
            found[name] = tensor
            found |= {f"{moment}.{name}": adam[moment] for moment in MOMENTS if adam}
            steps = adam.get("step", steps)
        return {name: _gather(part, self.columns) for name, part in found.items()} | {
            "steps": steps.cpu().numpy()
        }

    def restore(self, state: Arrays) -> None:
        own = self.columns[workers()[0]]
        # In C order: the fused Adam assumes that its moments have the same memory layout as the tensors.
        held = {
            name: torch.tensor(np.ascontiguousarray(state[name][:, own])).to(self.device)
            for name in state.keys() - {"steps"}
        }
        for name, tensor in self.trained.items():
            tensor.copy_(held[name])
            if f"{MOMENTS[0]}.{name}" in held:
                moments = {moment: held[f"{moment}.{name}"] for moment in MOMENTS}
                self.adam.state[tensor] = moments | {"step": torch.tensor(state["steps"]).to(self.device)}
        self.compose()


class Factors(TrainedRecommender, DotRecommender):
    """Scores are dot products of the trained embeddings.

    A user of the training set keeps the vector learnt in the fit, also if the history in the request is different. The
    vector of another user (one outside the training set, or without observed items in it) is computed from the history:
    the sum of `folds`, the vectors that the items add to their users, scaled to the mean norm of the known users. The
    ranking does not depend on that scale.
    """

    learner = FactorsLearner
    users: np.ndarray
    """float32 [users, dim]."""
    folds: np.ndarray
    """float32 [items, dim]."""

    def most_workers(self) -> int:
        return min(self.compute.workers, self.section.dim)  # each worker needs at least one column

    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        return self.kept_or_folded(self.users, self._folded, histories, users)

    def _folded(self, histories: Histories) -> np.ndarray:
        """float32 [rows, dim]."""
        ones = np.ones(len(histories.items), np.float32)
        found = histories.matrix(ones, self.n_items) @ self.folds
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.maximum(norms, 1e-12) * self.user_norm

    @cached_property
    def user_norm(self) -> np.float32:
        """The mean norm of the vectors of users with observed items; 1 if there are none."""
        known = np.linalg.norm(self.users[self.seen.lengths > 0], axis=1)
        return np.float32(known.mean() if len(known) else 1)

    def arrays(self) -> Arrays:
        own = {"users": self.users, "items": self.items, "folds": self.folds}
        return own | self.candidates.arrays()

    def item_tables(self) -> list[np.ndarray]:
        self.items, self.folds = self.items.copy(), self.folds.copy()  # those of a Ray worker are read-only
        return [self.items, self.folds]

    def restore(self, arrays: Arrays) -> None:
        self.users, self.items, self.folds = arrays["users"], arrays["items"], arrays["folds"]
        self.__dict__.pop("user_norm", None)
        self.restore_candidates(arrays)


MOMENTS = ("exp_avg", "exp_avg_sq")
"""The names of the two moving averages in torch's Adam."""


def _initial(rows: int, columns: np.ndarray, scale: float, *seeds: int) -> torch.Tensor:
    """float32 [rows, columns]. Each column has its own random generator, so it is the same on any worker."""
    drawn = [
        np.random.default_rng([seeds[0], column, *seeds[1:]]).standard_normal(rows, np.float32)
        for column in columns
    ]
    return torch.from_numpy(np.stack(drawn, axis=1) * np.float32(scale))


def _gather(own: torch.Tensor, columns: list[np.ndarray]) -> np.ndarray:
    """The columns of all workers, in order, float32 [nodes, dim]."""
    if not dist.is_initialized():
        return own.cpu().numpy().copy()
    widest = len(columns[0])  # all_gather needs equal shapes
    padded = functional.pad(own, (0, widest - own.shape[1])).contiguous()
    parts = [torch.empty_like(padded) for _ in columns]
    dist.all_gather(parts, padded)
    return torch.cat([part[:, : len(c)] for part, c in zip(parts, columns, strict=True)], dim=1).cpu().numpy()
