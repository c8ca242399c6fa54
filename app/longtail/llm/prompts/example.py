"""A tuning example: tokens, and the loss weight of each."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Example:
    """A tuning example. `weights[t]` is the loss weight of predicting `tokens[t]` from the tokens before it; 0: not learned.

    tokens int32 [T], weights float32 [T]. cut: the context was too short for all of the history asked for.
    """

    tokens: np.ndarray
    weights: np.ndarray
    cut: bool = False


LEFT_OUT = Example(np.empty(0, np.int32), np.empty(0, np.float32), cut=True)
"""Stands for an example whose answer does not fit in the context: an answer is never cut."""


def answered(asked: Example, answer: np.ndarray | list[int]) -> Example:
    """A prompt and its answer, with loss on every token of the answer."""
    if not len(asked.tokens):
        return LEFT_OUT
    weights = np.zeros(len(asked.tokens) + len(answer), np.float32)
    weights[len(asked.tokens) :] = 1.0
    return Example(
        np.concatenate([asked.tokens, answer], dtype=np.int32, casting="same_kind"), weights, asked.cut
    )
