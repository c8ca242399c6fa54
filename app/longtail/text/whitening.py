"""Half-whitening: what makes raw vectors of a pretrained model useful.

Raw vectors share a few directions in which all texts differ most and which say little. Whitening gives all directions the
same spread, and noise with them. Half of it, the fourth root of the variance, is between the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LEAST = 1e-6
"""Directions whose variance is below this share of the largest are left out: they are rounding."""


@dataclass(frozen=True)
class Moments:
    """Of vectors float [n, width]: their number, their sum [width] and the sum of their outer products [width, width]."""

    n: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray) -> "Moments":
        wide = vectors.astype(np.float64)
        return cls(len(wide), wide.sum(axis=0), wide.T @ wide)

    @classmethod
    def together(cls, parts: Iterable["Moments"]) -> "Moments":
        """Those of all vectors of some parts, of which at least one has a vector."""
        parts = [one for one in parts if one.n]
        return cls(
            sum(one.n for one in parts), sum(one.total for one in parts), sum(one.products for one in parts)
        )


def half_whitening(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """The mean float64 [width] and the matrix float64 [width, kept]: (v - mean) @ matrix is a half-whitened vector.

    Its directions are the principal ones, the widest first; each is divided by the fourth root of its variance.
    """
    mean = moments.total / moments.n
    covariance = moments.products / moments.n - np.outer(mean, mean)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions[:, ::-1]
    kept = variances > max(variances[0] * LEAST, np.finfo(float).tiny)
    return mean, directions[:, kept] * variances[kept] ** -0.25
