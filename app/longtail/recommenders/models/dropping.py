"""Faster dropout for CPUs. With PyTorch's dropout, the random numbers would take a quarter of a training step.

PyTorch draws one random number per element. Here one random byte per element is enough, so the share that is dropped
is a multiple of 1/256. On other devices PyTorch's dropout is used.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def dropout(values: torch.Tensor, share: float, training: bool) -> torch.Tensor:
    """Set each element to 0 with probability `share` (rounded to 1/256), and scale the others up to keep the mean.

    If not `training`, `values` are returned as they are.
    """
    if not training or share == 0:
        return values
    if values.device.type != "cpu":
        return functional.dropout(values, share)
    return values * kept(values.shape, share)


class Dropout(nn.Dropout):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return dropout(values, self.p, self.training)


def kept(shape: torch.Size, share: float) -> torch.Tensor:
    """float32 factors of the given shape: 0 with probability `share`, and for the others the value that keeps the mean at
    1. They are drawn from torch's random generator.
    """
    out_of = round(256 * share)
    rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    drawn = rng.bytes(shape.numel())
    keep = np.zeros(256, np.float32)
    keep[out_of:] = 256 / (256 - out_of)
    return torch.from_numpy(keep[np.frombuffer(drawn, np.uint8)]).view(shape)


def dropping_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, share: float
) -> torch.Tensor:
    """Causal attention with dropout of its weights: three inputs [rows, heads, L, d] -> [rows, heads, L, d].

    PyTorch's fused kernel for CPUs has no dropout. PyTorch's fallback passes over the weights several times more often
    than this function.
    """
    _, heads, longest, width = query.shape
    future = torch.full((longest, longest), -torch.inf, device=query.device).triu(1)
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    weights = torch.baddbmm(future, query, key.transpose(1, 2), alpha=width**-0.5).softmax(-1)
    mixed = (weights * kept(weights.shape, share)) @ value
    return mixed.unflatten(0, (-1, heads))
