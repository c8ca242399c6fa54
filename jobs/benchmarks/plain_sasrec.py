"""A straightforward SASRec: padded to the full length, with `nn.MultiheadAttention`, negatives drawn one at a time."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class PlainSASRec(nn.Module):
    """The network of `longtail.recommenders.models.transformer`; item 0 is the padding."""

    def __init__(self, n_items: int, dim: int, layers: int, max_length: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, dim, padding_idx=0)
        self.positions = nn.Embedding(max_length, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(PlainBlock(dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.xavier_normal_(weights)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """int64 [B, L] -> [B, L, dim]."""
        steps = torch.arange(items.shape[1], device=items.device)
        states = self.items(items) * self.items.embedding_dim**0.5 + self.positions(steps)
        states = self.dropout(states) * (items != 0).unsqueeze(-1)
        for block in self.blocks:
            states = block(states)
        return self.norm(states)


class PlainBlock(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.network_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, 1, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.network = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim), nn.Dropout(dropout)
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        length = states.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=states.device).triu(1)
        inputs = self.attention_norm(states)
        mixed, _ = self.attention(inputs, inputs, inputs, attn_mask=future, need_weights=False)
        states = states + self.dropout(mixed)
        return states + self.network(self.network_norm(states))


def plain_batch(
    sequences: list[list[int]], taken: list[set[int]], n_items: int, max_length: int, rng: np.random.Generator
) -> tuple[torch.Tensor, ...]:
    """Inputs, targets and negatives int64 [B, L] of the users of a batch. Items are numbered from 1; 0 is padding."""
    shape = (len(sequences), max_length)
    inputs, targets, negatives = (np.zeros(shape, np.int64) for _ in range(3))
    for row, (sequence, own) in enumerate(zip(sequences, taken, strict=True)):
        following, place = sequence[-1], max_length - 1
        for item in reversed(sequence[:-1]):
            inputs[row, place], targets[row, place] = item, following
            negative = int(rng.integers(1, n_items + 1))
            while negative in own:
                negative = int(rng.integers(1, n_items + 1))
            negatives[row, place] = negative
            following, place = item, place - 1
            if place < 0:
                break
    return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(negatives)


def plain_step(
    model: PlainSASRec,
    adam: torch.optim.Adam,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    negatives: torch.Tensor,
) -> float:
    """One step on the mean binary cross-entropy over positions without padding. Returns the loss."""
    states = model(inputs)
    positive = (states * model.items(targets)).sum(-1)
    negative = (states * model.items(negatives)).sum(-1)
    real = targets != 0
    loss = functional.softplus(-positive[real]).mean() + functional.softplus(negative[real]).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
    return loss.item()
