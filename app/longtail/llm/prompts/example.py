"""A tuning example: tokens, and which of them are learnt."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Example:
    """A tuning example. `weights[t]` is the loss weight of predicting `tokens[t]` from those before it; 0 leaves it out.

    tokens int32 [T], weights float32 [T]. cut: the context held less of the history than was asked for.
    """

    tokens: np.ndarray
    weights: np.ndarray
    cut: bool = False


LEFT_OUT = Example(np.empty(0, np.int32), np.empty(0, np.float32), cut=True)
"""In place of an example whose answer the context does not hold: an answer is never cut."""


def answered(asked: Example, answer: np.ndarray | list[int]) -> Example:
    """A prompt and its answer, with loss on every token of the answer."""
    if not len(asked.tokens):
        return LEFT_OUT
    weights = np.zeros(len(asked.tokens) + len(answer), np.float32)
    weights[len(asked.tokens) :] = 1.0
    return Example(
        np.concatenate([asked.tokens, answer], dtype=np.int32, casting="same_kind"), weights, asked.cut
    )
