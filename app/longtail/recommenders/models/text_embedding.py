"""An embedding of items that knows their texts."""

import numpy as np
import torch
from torch import nn


class TextEmbedding(nn.Embedding):
    """The vector of an item is a free one plus a linear map of its text, a row of `text` float32 [n_items, d]."""

    def __init__(self, dim: int, text: np.ndarray) -> None:
        super().__init__(len(text), dim)
        self.map = nn.Linear(text.shape[1], dim, bias=False)
        self.register_buffer("text", torch.from_numpy(text), persistent=False)

    def start_map(self) -> None:
        """Start the map so that mapped texts are as long as free vectors, as in the generator `small`."""
        with torch.no_grad():
            nn.init.normal_(self.map.weight, std=self.weight.std().item() / self.text.shape[1] ** 0.5)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return super().forward(items) + self.map(self.text[items])
