"""From the text of an item to the vectors that a recommender would have learnt of it: ridge regression in closed form."""

from dataclasses import dataclass

import numpy as np

WORDS = 256
"""Values that TF-IDF is reduced to here. A map in closed form does not overfit them, as one learnt by descent might."""
STRENGTHS = 10.0 ** np.arange(-3.0, 3.5, 0.5)
"""The strengths that are tried, in multiples of the mean square of the texts' directions."""


@dataclass(frozen=True)
class TextRidge:
    """v = mean + (t - centre) M, with the M that minimises sum |v_i - mean - (t_i - centre) M|^2 + strength |M|^2 over the
    known items (Hoerl, Kennard 1970).
    """

    centre: np.ndarray
    mean: np.ndarray
    map: np.ndarray
    strength: float
    """In multiples of the mean square, as STRENGTHS."""
    error: float
    """The mean squared error for items that are left out, as a share of the variance of the vectors: 1 if texts say
    nothing."""

    @classmethod
    def of(cls, texts: np.ndarray, vectors: np.ndarray) -> "TextRidge":
        """Fit texts float [n, width] to vectors float [n, dim] of at least one item.

        The strength is the one with the smallest error for items that are left out, one at a time. This needs no second
        fit: an item's error without it is its residual divided by 1 - h, with h its leverage (Allen 1974, PRESS).
        """
        texts, vectors = texts.astype(np.float64), vectors.astype(np.float64)
        centre, mean = texts.mean(axis=0), vectors.mean(axis=0)
        left, sizes, right = np.linalg.svd(texts - centre, full_matrices=False)
        there = sizes > max(float(sizes.max(initial=0)), 1e-12) * 1e-6
        left, sizes, right = left[:, there], sizes[there], right[there]
        away, squares = vectors - mean, sizes**2
        along = left.T @ away
        variance = max(float(np.square(away).sum()), np.finfo(float).tiny)
        scale = float(squares.mean()) if len(squares) else 1.0
        errors = []
        for strength in STRENGTHS:
            kept = squares / (squares + strength * scale)
            leverage = 1 / len(texts) + np.square(left) @ kept
            missed = (away - left @ (kept[:, None] * along)) / np.maximum(1 - leverage, 1e-9)[:, None]
            errors.append(float(np.square(missed).sum()) / variance)
        best = int(np.argmin(errors))
        shrunk = sizes / (squares + STRENGTHS[best] * scale)
        return cls(centre, mean, right.T @ (shrunk[:, None] * along), float(STRENGTHS[best]), errors[best])

    def __call__(self, texts: np.ndarray) -> np.ndarray:
        """The vectors of texts float [n, width]: float32 [n, dim]."""
        return (self.mean + (texts - self.centre) @ self.map).astype(np.float32)
