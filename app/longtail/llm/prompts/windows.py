"""Windows over a history: one sequence teaches many steps, within a limit of items and of tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longtail.arrays import offsets_of


@dataclass(frozen=True)
class Window:
    """Items start..end - 1 of a history; those from `first` on are targets.

    cut: fewer items come before the first target than `history` asks for, because the tokens did not fit.
    """

    start: int
    first: int
    end: int
    cut: bool


def windows(lengths: np.ndarray, history: int, budget: int) -> Iterator[Window]:
    """Windows of at most `history` + 1 items and `budget` tokens in which every item but the first is a target once.

    lengths int [T]: tokens of the items. Each window moves on by half of its size, so that half of a window, in items or
    in tokens, comes before its first target. A target longer than the budget gives an empty window.
    """
    ends = offsets_of(lengths)
    step = max(1, history // 2)
    start, first = 0, 1
    while first < len(lengths):
        if lengths[first] > budget:
            yield Window(first, first, first, cut=True)
            start = first = first + 1
            continue
        wanted = start
        if ends[min(start + history + 1, len(lengths))] - ends[start] > budget:
            known = min(budget // 2, budget - int(lengths[first]))
            while ends[first] - ends[start] > known:
                start += 1
        held = int(np.searchsorted(ends, ends[start] + budget, side="right")) - 1
        end = min(held, start + history + 1, len(lengths))
        yield Window(start, first, end, cut=start > wanted)
        first, start = end, max(start, end - (history + 1) + step)
