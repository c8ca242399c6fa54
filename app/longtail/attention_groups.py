"""Sequences of different lengths without padding: they lie flat, one after the other, and only attention groups them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from longtail.arrays import offsets_of

ALIKE = 0.7
"""Sequences share a group of attention down to this share of the longest."""


@dataclass(frozen=True)
class AttentionGroups:
    """How flat positions [N] stand in padded groups of sequences of nearly equal length.

    Everything but attention works on the flat positions; attention, whose cost is quadratic, pads only inside a group,
    and the cells of the groups lie one group behind the other. shapes: sequences and longest length of each group.
    gather int64 [cells]: the flat position of every cell, 0 where there is none. scatter int64 [N]: the cell of every
    flat position.
    """

    shapes: list[tuple[int, int]]
    gather: torch.Tensor
    scatter: torch.Tensor

    @classmethod
    def of(cls, lengths: np.ndarray, device: torch.device) -> Self:
        """For sequences of `lengths` int [sequences], each at least 1, in the order in which they lie flat."""
        offsets = offsets_of(lengths)
        shapes, gather, scatter, cells = [], [], np.empty(offsets[-1], np.int64), 0
        for rows in _alike(lengths):
            columns = np.arange(lengths[rows].max())
            place = offsets[rows][:, None] + columns
            real = columns < lengths[rows][:, None]
            scatter[place[real]] = cells + np.flatnonzero(real)
            cells += real.size
            shapes.append(real.shape)
            gather.append(np.where(real, place, 0).ravel())
        return cls(
            shapes,
            torch.from_numpy(np.concatenate(gather)).to(device),
            torch.from_numpy(scatter).to(device),
        )


def _alike(lengths: np.ndarray) -> list[np.ndarray]:
    """Rows in groups of nearly equal length."""
    order = np.argsort(-lengths, kind="stable")
    groups, start = [], 0
    while start < len(order):
        longest = lengths[order[start]]
        size = np.searchsorted(-lengths[order[start:]], -ALIKE * longest, side="right")
        groups.append(order[start : start + size])
        start += size
    return groups
