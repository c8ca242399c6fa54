"""An embedding of items that knows their texts."""

import numpy as np
import torch
from torch import nn


class TextEmbedding(nn.Embedding):
    """The vector of an item is a free one plus a linear map of its text, a row of `text` float32 [n_items, d].

    That of an item that is not `known` (bool [n_items]) is the mapped text alone, and nothing is learnt from it: only
    preferences of an LLM name such items, and no step size may lift them without end.
    """

    def __init__(self, dim: int, text: np.ndarray, known: np.ndarray) -> None:
        super().__init__(len(text), dim)
        self.map = nn.Linear(text.shape[1], dim, bias=False)
        self.register_buffer("text", torch.from_numpy(text), persistent=False)
        self.register_buffer("known", torch.from_numpy(known), persistent=False)

    def start_map(self) -> None:
        """Start the map so that mapped texts are as long as free vectors, as in the generator `small`."""
        with torch.no_grad():
            nn.init.normal_(self.map.weight, std=self.weight.std().item() / self.text.shape[1] ** 0.5)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        mapped = self.map(self.text[items])
        return torch.where(self.known[items, None], super().forward(items) + mapped, mapped.detach())
