"""The network of SASRec (Kang, McAuley, arXiv 1808.09781, section 3) and that of eSASRec (arXiv 2508.06450), without
padding outside attention.

The sequences of a batch are stored one after the other, so everything except attention computes real positions only.
Attention pads the sequences in groups of nearly equal length, because its cost is quadratic and the lengths of
histories are very different.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from longtail.arrays import places_of
from longtail.attention_groups import AttentionGroups
from longtail.recommenders.models.dropping import Dropout, dropout, dropping_attention
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.models.text_embedding import TextEmbedding


@dataclass(frozen=True)
class Layout:
    """The places of the sequences of a batch in the flat arrays.

    positions int64 [N]: the position of each item in the window of `max_length`. The last item of a sequence is at the
    end of the window, as in the paper, which pads on the left. last int64 [sequences]: the flat index of the last item
    of each sequence. groups: the groups of sequences for attention.
    """

    positions: torch.Tensor
    last: torch.Tensor
    groups: AttentionGroups

    @classmethod
    def of(cls, lengths: np.ndarray, max_length: int, device: torch.device) -> "Layout":
        """The layout of sequences with `lengths` int [sequences], each 1..max_length, in the order of the flat arrays."""
        positions = max_length - np.repeat(lengths, lengths) + places_of(lengths)
        last = np.cumsum(lengths) - 1
        positions, last = (torch.from_numpy(array).to(device) for array in (positions, last))
        return cls(positions, last, AttentionGroups.of(lengths, device))


class Transformer(nn.Module):
    """Items int64 [N] and their layout -> states [N, dim]. A state depends on its own item and those before it in the
    sequence. text: the vectors of the items' texts, float32 [n_items, d], or None; known: see `TextEmbedding`.
    """

    def __init__(
        self,
        n_items: int,
        section: SASRecSection,
        text: np.ndarray | None = None,
        known: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.scale = section.dim**0.5
        plain = text is None
        self.items = nn.Embedding(n_items, section.dim) if plain else TextEmbedding(section.dim, text, known)
        self.positions = nn.Embedding(section.max_length, section.dim)
        self.dropout = Dropout(section.dropout)
        gated = section.block == "ligr"
        self.blocks = nn.ModuleList((GatedBlock if gated else Block)(section) for _ in range(section.layers))
        self.norm = nn.Identity() if gated else nn.LayerNorm(section.dim)  # eSASRec has none after its blocks
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.xavier_normal_(weights)
        if not plain:
            self.items.start_map()

    def forward(self, items: torch.Tensor, layout: Layout) -> torch.Tensor:
        states = self.dropout(self.items(items) * self.scale + self.positions(layout.positions))
        for block in self.blocks:
            states = block(states, layout)
        return self.norm(states)


class Block(nn.Module):
    """x + Dropout(f(LayerNorm(x))), first with f = self-attention, then with f = the point-wise network (section 3.2)."""

    def __init__(self, section: SASRecSection) -> None:
        super().__init__()
        dim = section.dim
        self.heads, self.drop = section.heads, section.dropout
        self.attention_norm, self.network_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inward, self.outward = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.network = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), Dropout(self.drop), nn.Linear(dim, dim), Dropout(self.drop)
        )

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        """[N, dim] -> [N, dim]."""
        states = states + self.attended(states, layout)
        return states + self.network(self.network_norm(states))

    def attended(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Dropout(self-attention(LayerNorm(states))): [N, dim] -> [N, dim]."""
        groups = layout.groups
        parts = self.inward(self.attention_norm(states)).index_select(0, groups.gather)
        parts = parts.split([rows * longest for rows, longest in groups.shapes])
        mixed = [self._attend(part, *shape) for part, shape in zip(parts, groups.shapes, strict=True)]
        mixed = torch.cat(mixed).index_select(0, groups.scatter)
        return dropout(self.outward(mixed), self.drop, self.training)

    def _attend(self, parts: torch.Tensor, rows: int, longest: int) -> torch.Tensor:
        """Causal attention of one group: [rows * longest, 3 dim] -> [rows * longest, dim].

        The padding is on the right, so causal attention of a real position never reads it.
        """
        parts = parts.view(rows, longest, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [rows, heads, longest, dim / heads]
        drop = self.drop if self.training else 0.0
        attend = dropping_attention if drop and parts.device.type == "cpu" else _fused_attention
        return attend(query, key, value, drop).transpose(1, 2).flatten(2).flatten(0, 1)


class GatedBlock(Block):
    """The block of LiGR (arXiv 2502.03417) as eSASRec has it: x + sigmoid(G x + b) * Dropout(f(LayerNorm(x))), first with
    f = self-attention, then with f = SwiGLU.
    """

    def __init__(self, section: SASRecSection) -> None:
        super().__init__(section)
        self.network = SwiGLU(section.dim, section.expansion * section.dim, section.dropout)
        self.attention_gate, self.network_gate = (nn.Linear(section.dim, section.dim) for _ in range(2))

    def forward(self, states: torch.Tensor, layout: Layout) -> torch.Tensor:
        states = states + self.attention_gate(states).sigmoid() * self.attended(states, layout)
        return states + self.network_gate(states).sigmoid() * self.network(self.network_norm(states))


class SwiGLU(nn.Module):
    """Dropout(C Dropout(silu(A x) * B x)), without biases (arXiv 2002.05202): [N, dim] -> [N, dim]."""

    def __init__(self, dim: int, width: int, drop: float) -> None:
        super().__init__()
        self.gate_and_value = nn.Linear(dim, 2 * width, bias=False)
        self.outward = nn.Linear(width, dim, bias=False)
        self.dropout = Dropout(drop)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, value = self.gate_and_value(states).chunk(2, -1)
        return self.dropout(self.outward(self.dropout(functional.silu(gate) * value)))


def _fused_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, drop: float
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(query, key, value, dropout_p=drop, is_causal=True)
