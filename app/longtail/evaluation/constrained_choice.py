"""Choices on validation that lose no slice: the best candidate for all users of those that meet the recipe's `Constraint`.

A candidate is held against a base, user by user, in NDCG@10 on each slice. It meets the constraint if on each of them

    mean difference + within_se × standard error ≥ 0

The error is that of `longtail.evaluation.crossed`, so it has the variance of users and, with several pairs, that of pairs.
How far candidates fall short decides only where none meets the constraint and a search must go on (Deb, Computer Methods
in Applied Mechanics and Engineering 2000, 186:311-338: by shortfall first, then by the aim).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from longtail.evaluation.crossed import Crossed
from longtail.recipe import Constraint

K = 10
"""Choices are made by NDCG at this k."""
ROUNDING = 1e-12
"""A smaller shortfall is one of rounding."""

CHANGES = pa.list_(
    pa.struct(
        [
            ("slice", pa.string()),
            ("users", pa.int64()),
            ("difference", pa.float64()),
            ("error", pa.float64()),
        ]
    )
)
"""The Arrow type of a list of `Change`."""


@dataclass(frozen=True)
class Change:
    """How a candidate changes NDCG@10 on a slice, against its base: the mean over `users` of the paired differences, and the
    standard error of the mean, 0 if it is not known because there are fewer than two users.
    """

    slice: str
    users: int
    difference: float
    error: float

    @classmethod
    def of(cls, slice_: str, differences: Crossed, cell: int | tuple[int, ...]) -> "Change":
        """That of one cell of the differences on a slice."""
        error, _ = differences.error()
        mean, known = float(differences.mean[cell]), float(np.nan_to_num(error[cell]))
        return cls(slice_, differences.of_means.n, mean, known)

    def told(self) -> dict[str, Any]:
        return asdict(self)

    def shortfall(self, within_se: float) -> float:
        """By how much it is lower than allowed; 0 if it is not."""
        short = -(self.difference + within_se * self.error)
        return short if short > ROUNDING else 0.0


@dataclass(frozen=True)
class Changes:
    """The differences of n candidates from their base; those of disjoint users can be added.

    of_slices: for each slice, in the words of the recipe, Crossed of [n].
    """

    of_slices: dict[str, Crossed] = field(default_factory=dict)

    @classmethod
    def of(cls, differences: dict[str, np.ndarray]) -> "Changes":
        """From the differences [users of the slice, pairs, n] on each slice."""
        return cls({name: Crossed.of(values) for name, values in differences.items()})

    def __add__(self, other: "Changes") -> "Changes":
        found = self.of_slices | other.of_slices
        both = self.of_slices.keys() & other.of_slices.keys()
        return Changes(found | {name: self.of_slices[name] + other.of_slices[name] for name in both})

    def only(self, number: int) -> "Changes":
        """Those of one candidate."""
        return Changes({name: own.only(number) for name, own in self.of_slices.items()})

    def of_candidate(self, number: int) -> list[Change]:
        return [Change.of(name, own, number) for name, own in self.of_slices.items()]


def shortfall(changes: Iterable[Change], constraint: Constraint) -> float:
    """By how much NDCG@10 a candidate is lower than allowed, added up over the slices; 0 if it meets the constraint."""
    return sum(one.shortfall(constraint.within_se) for one in changes if one.slice in constraint.slices)


def lost(changes: Iterable[Change], constraint: Constraint) -> list[str]:
    """The slices of the constraint on which NDCG@10 is lower than allowed."""
    within, named = constraint.within_se, constraint.slices
    return [one.slice for one in changes if one.slice in named and one.shortfall(within)]


def best_within(aims: Sequence[float], shortfalls: Sequence[float]) -> int | None:
    """Which candidate is the best of those that do not fall short, the first of equals. None if every one does."""
    allowed = [number for number, short in enumerate(shortfalls) if not short]
    return max(allowed, key=lambda number: aims[number], default=None)


def ndcg_by_slice(users: np.ndarray, inside: np.ndarray, ranks: np.ndarray) -> list[np.ndarray]:
    """NDCG@10 of the users who have a target in a slice, over these targets, for n rankings: for each slice float64
    [users of the slice, n], users ascending. It is that of `ranking_metrics.per_user`, in one matrix product for all slices.

    users int [targets]; inside bool [targets, slices]; ranks int [targets, n]: 1-based, 0 if not found.
    """
    if not inside.shape[1]:
        return []
    slices, targets = np.nonzero(inside.T)
    many = int(users.max()) + 1 if len(users) else 1
    found, rows, counts = np.unique(slices * many + users[targets], return_inverse=True, return_counts=True)
    ideal = np.cumsum(1 / np.log2(np.arange(2, K + 2)))[np.minimum(counts, K) - 1]
    weights = csr_array((1 / ideal[rows], (rows, targets)), shape=(len(found), len(users)))
    gains = np.where((ranks > 0) & (ranks <= K), 1 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)
    return np.split(weights @ gains, np.searchsorted(found, many * np.arange(1, inside.shape[1])))


def cost_in_words(constraint: Constraint, free: float, chosen: float, of: str = "all users") -> str:
    """A sentence on what the constraint cost: NDCG@10 on validation of the best without it, and of the chosen one."""
    kept = f"that {' and '.join(constraint.slices)} must not lose"
    if free <= chosen:
        return f"The constraint {kept} cost nothing on validation."
    return (
        f"The constraint {kept} cost {free - chosen:.4f} NDCG@10 of {of} on validation: {free:.4f} without it,"
        f" {chosen:.4f} with it."
    )
