"""SASRec (Kang, McAuley, arXiv 1808.09781): a causal transformer predicts a user's next item."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from app.recipe import SASRec as Section
from app.recommenders.base import Interactions
from app.recommenders.ranker import Histories, Ranker
from app.recommenders.sampling import Negatives
from app.recommenders.training import Arrays, Progress, run_distributed, sum_over_workers, workers


class Transformer(nn.Module):
    """Items [B, L] (right-padded with -1) -> states [B, L, dim]; state t depends on items 0..t only.

    Padding stands on the right, where a causal query never looks, yet positions count as in the paper, which
    pads on the left: the last real item always has the last position.
    """

    def __init__(self, n_items: int, section: Section) -> None:
        super().__init__()
        self.section = section
        self.items = nn.Embedding(n_items + 1, section.dim, padding_idx=n_items)
        self.positions = nn.Embedding(section.max_length, section.dim)
        self.dropout = nn.Dropout(section.dropout)
        self.blocks = nn.ModuleList(Block(section) for _ in range(section.layers))
        self.norm = nn.LayerNorm(section.dim)
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.xavier_normal_(weights)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        real = items >= 0
        step = torch.arange(items.shape[1], device=items.device)
        position = self.section.max_length - real.sum(1, keepdim=True) + step
        inputs = self.items(torch.where(real, items, self.items.padding_idx)) * self.section.dim**0.5
        states = self.dropout(inputs + self.positions(position.clamp(max=self.section.max_length - 1)))
        for block in self.blocks:
            states = block(states)
        return self.norm(states)


class Block(nn.Module):
    """x + Dropout(f(LayerNorm(x))) for f = self-attention, then the point-wise network (section 3.2)."""

    def __init__(self, section: Section) -> None:
        super().__init__()
        dim = section.dim
        self.heads, self.drop = section.heads, section.dropout
        self.attention_norm, self.network_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inward, self.outward = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.network = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(self.drop), nn.Linear(dim, dim), nn.Dropout(self.drop)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        parts = self.inward(self.attention_norm(states)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [B, heads, L, dim / heads]
        drop = self.drop if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=drop, is_causal=True)
        mixed = self.outward(mixed.transpose(1, 2).flatten(2))
        states = states + functional.dropout(mixed, self.drop, self.training)
        return states + self.network(self.network_norm(states))


class NextItemLoss(nn.Module):
    """Sum over the positions of w (softplus(-y_target) + softplus(y_negative)): equation 7, weighted."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor, negatives: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        """All [B, L], -1 where padded -> scalar."""
        real = targets >= 0
        states = self.model(inputs)[real]
        positive = (states * self.model.items(targets[real])).sum(-1)
        negative = (states * self.model.items(negatives[real])).sum(-1)
        return (weights[real] * (functional.softplus(-positive) + functional.softplus(negative))).sum()


class SASRec(Ranker):
    """Trained on the observed items followed by the generated ones; asked with the observed ones alone."""

    name = "sasrec"
    section: Section
    model: Transformer
    warm: np.ndarray
    """bool [items]: has a training interaction."""

    def _fit(self, train: Interactions) -> None:
        arrays = loop_arrays(train)
        self.warm = np.bincount(arrays["taken_indices"], minlength=train.n_items) > 0
        settings = self.section.model_dump() | {"n_items": train.n_items, "seed": self.seed}
        found = run_distributed(sasrec_loop, arrays, settings, self.workers, self.use_gpu)
        self.counts = {
            "seconds per epoch": float(found.pop("seconds_per_epoch")),
            "final_loss": float(found.pop("losses")[-1]),
        }
        self.restore(found | {"warm": self.warm})

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        items = _latest(histories.indptr, histories.items, np.arange(len(histories)), self.section.max_length)
        last = np.maximum((items >= 0).sum(1) - 1, 0)
        with torch.no_grad():
            states = self.model(torch.from_numpy(items.astype(np.int64)))
            states = states[torch.arange(len(items)), torch.from_numpy(last)]
            scores = (states @ self.model.items.weight[:-1].T).numpy()
        scores[:, ~self.warm] = -np.inf
        scores[histories.lengths == 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        weights = {name: tensor.numpy() for name, tensor in self.model.state_dict().items()}
        return weights | {"warm": self.warm}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        arrays = dict(arrays)
        self.warm = arrays.pop("warm")
        self.model = Transformer(self.n_items, self.section).eval()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})


def loop_arrays(train: Interactions) -> Arrays:
    """What `sasrec_loop` trains on: the sequences, and as CSR what a user has taken, hence what is no negative."""
    taken = train.matrix
    taken.eliminate_zeros()
    return {
        "starts": train.indptr,
        "items": train.items,
        "weights": train.weights,
        "taken_indptr": taken.indptr,
        "taken_indices": taken.indices,
    }


def sasrec_loop(arrays: Arrays, settings: dict[str, Any], device: torch.device) -> Arrays:
    """Train a Transformer by Adam: binary cross-entropy of the next item against one uniform negative
    (equation 7), weighted by the interaction of the next item; an epoch passes once over all users.

    arrays: the sequences (starts, items, weights) and the users x items CSR of what is no negative
    (taken_indptr, taken_indices). Answers the model's weights by name. The loss of a batch is divided by its
    number of positions over all workers, so that more workers make the same gradient of the same batch
    (dropout apart).
    """
    settings = dict(settings)
    n_items, seed = settings.pop("n_items"), settings.pop("seed")
    section = Section.model_validate(settings)
    rank, n_workers = workers()
    torch.manual_seed(seed)
    model = Transformer(n_items, section).to(device)
    torch.manual_seed(seed + rank)  # equal weights at the start, dropout of one's own
    loss_of: nn.Module = NextItemLoss(model)
    if n_workers > 1:
        loss_of = DistributedDataParallel(loss_of)
    adam = torch.optim.Adam(
        model.parameters(), lr=section.lr, betas=(0.9, 0.98), weight_decay=section.l2, fused=True
    )
    draw = Batches(arrays, n_items, section, seed)
    progress = Progress("sasrec", section.epochs)
    for _ in range(section.epochs):
        total = torch.zeros(2, device=device)
        for batch in draw.epoch():
            own = np.array_split(np.arange(len(batch[0])), n_workers)[rank]
            positions = max(1, int((batch[1] >= 0).sum()))
            loss = loss_of(*(torch.from_numpy(part[own]).to(device) for part in batch))
            adam.zero_grad()
            (loss * n_workers / positions).backward()  # DDP averages over workers
            adam.step()
            total += torch.stack([loss.detach(), torch.tensor(positions / n_workers, device=device)])
        sum_over_workers(total)
        if not progress.epoch((total[0] / total[1].clamp(min=1)).item()):
            break
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()} | progress.arrays()


class Batches:
    """Inputs, targets, negatives int64 and weights float32, each [batch, L].

    What is drawn does not depend on the number of workers.
    """

    def __init__(self, arrays: Arrays, n_items: int, section: Section, seed: int) -> None:
        self.arrays, self.section = arrays, section
        self.rng = np.random.default_rng([seed, n_items])
        parts = (
            np.ones(len(arrays["taken_indices"]), np.int8),
            arrays["taken_indices"],
            arrays["taken_indptr"],
        )
        self.negatives = Negatives(csr_matrix(parts, shape=(len(arrays["taken_indptr"]) - 1, n_items)))
        self.users = np.flatnonzero((np.diff(arrays["starts"]) > 1) & self.negatives.possible)

    def epoch(self) -> Iterator[tuple[np.ndarray, ...]]:
        order = self.rng.permutation(self.users)
        for start in range(0, len(order), self.section.batch):
            users = order[start : start + self.section.batch]
            rows, weights = (
                _latest(self.arrays["starts"], self.arrays[name], users, self.section.max_length + 1)
                for name in ("items", "weights")
            )
            targets = rows[:, 1:].astype(np.int64)
            real = targets >= 0
            inputs = np.where(real, rows[:, :-1], -1).astype(np.int64)
            negatives = np.full_like(targets, -1)
            negatives[real] = self.negatives.draw(users[np.nonzero(real)[0]], self.rng)
            yield inputs, targets, negatives, weights[:, 1:]


def _latest(starts: np.ndarray, values: np.ndarray, rows: np.ndarray, length: int) -> np.ndarray:
    """The last `length` values of some rows of a ragged array, in order, -1 to their right.

    Answers [rows, longest of them, at most `length`].
    """
    ends = starts[1:][rows]
    lengths = np.minimum(ends - starts[:-1][rows], length)
    step = np.arange(max(1, lengths.max(initial=0)))
    real = step < lengths[:, None]
    place = np.where(real, (ends - lengths)[:, None] + step, 0)
    return np.where(real, values[place] if len(values) else -1, values.dtype.type(-1))
