"""The kinds of fusion: how the recommender's list and the LLM's list of a user become one.

Three kinds give every user a weight alpha of the LLM's list, and rank by U = alpha * U_LLM + (1 - alpha) * U_Rec:

- `paper`: alpha_u of Llama4Rec (arXiv 2401.13870, eq. 5-7), the higher the sparser the user;
- `uniform`: the same weight for every user;
- `bucketed`: a weight for each bucket of users with histories of about the same length.

The fourth, `inject`, has no weights: the items of the LLM's list take fixed places of the ranking.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from longtail.aggregation.formulas import BUCKETS, Sparsity, Union, Utility
from longtail.recipe import FusionKind


class Fusion(ABC):
    """One kind with its numbers. `parts` gives the utility of each item in each list, `joined` makes them one."""

    kind: ClassVar[FusionKind]

    @abstractmethod
    def alpha(self, interactions: np.ndarray, sparsity: Sparsity) -> np.ndarray:
        """The weight of the LLM's list for users with N(u) interactions; any shape, float64 of the same shape."""

    @abstractmethod
    def parts(self, union: Union) -> tuple[np.ndarray, np.ndarray]:
        """U_Rec and U_LLM of every item of the union: float64 [n, w] each."""

    @abstractmethod
    def joined(self, alpha: np.ndarray, u_rec: np.ndarray, u_llm: np.ndarray) -> np.ndarray:
        """The utility float64 [n, w] that ranks the items, from alpha float [n] and the `parts` [n, w]."""

    def final_utility(self, union: Union, alpha: np.ndarray) -> np.ndarray:
        """The utility that ranks every item of the union: float64 [n, w], -inf if there is no item."""
        return np.where(union.items >= 0, self.joined(alpha, *self.parts(union)), -np.inf)

    def told(self) -> dict[str, Any]:
        """The kind and its numbers, as JSON; `read_fusion` makes it a fusion again."""
        return {"kind": self.kind} | asdict(self)


class Weighted(Fusion):
    """A kind that weights the utilities of both lists."""

    utility: Utility

    def parts(self, union: Union) -> tuple[np.ndarray, np.ndarray]:
        return union.utilities(self.utility)

    def joined(self, alpha: np.ndarray, u_rec: np.ndarray, u_llm: np.ndarray) -> np.ndarray:
        weight = np.asarray(alpha, np.float64)[:, None]
        return weight * u_llm + (1 - weight) * u_rec


@dataclass(frozen=True)
class Paper(Weighted):
    """alpha_u = alpha_1 * max((l_max - l_u) / (l_max - l_min), alpha_2), so it is in [alpha_1 * alpha_2, alpha_1]."""

    kind: ClassVar[FusionKind] = "paper"
    alpha_1: float
    alpha_2: float
    utility: Utility = "rank"

    def alpha(self, interactions: np.ndarray, sparsity: Sparsity) -> np.ndarray:
        return self.alpha_1 * np.maximum(sparsity.of(interactions), self.alpha_2)


@dataclass(frozen=True)
class Uniform(Weighted):
    """alpha_u = weight."""

    kind: ClassVar[FusionKind] = "uniform"
    weight: float
    utility: Utility = "rank"

    def alpha(self, interactions: np.ndarray, sparsity: Sparsity) -> np.ndarray:
        return np.full(np.shape(interactions), float(self.weight))


@dataclass(frozen=True)
class Bucketed(Weighted):
    """alpha_u = weights[b], with b the bucket of the user (`Sparsity.bucket`), the sparsest first.

    Raises ValueError unless there is a weight for each of the BUCKETS.
    """

    kind: ClassVar[FusionKind] = "bucketed"
    weights: tuple[float, ...]
    utility: Utility = "rank"

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))  # JSON has lists
        if len(self.weights) != BUCKETS:
            raise ValueError(f"{BUCKETS} weights are needed, got {len(self.weights)}")

    def alpha(self, interactions: np.ndarray, sparsity: Sparsity) -> np.ndarray:
        return np.array(self.weights, np.float64)[sparsity.bucket(interactions)]


@dataclass(frozen=True)
class Inject(Fusion):
    """The s-th item of the LLM's list takes place first + (s - 1) * every; the recommender fills the other places.

    Places count from 1. An item that both lists have takes the better one of its two places, and what comes after the other
    one moves up. U of an item in a list is minus its place there, so the ranking is by U = max(U_LLM, U_Rec).
    """

    kind: ClassVar[FusionKind] = "inject"
    first: int
    every: int

    def alpha(self, interactions: np.ndarray, sparsity: Sparsity) -> np.ndarray:
        """The share of the places that the list takes from `first` on."""
        return np.full(np.shape(interactions), 1 / self.every)

    def parts(self, union: Union) -> tuple[np.ndarray, np.ndarray]:
        own, llm = (places.astype(np.float64) for places in (union.recommender_place, union.llm_place))
        listed = llm.max(axis=1, keepdims=True, initial=0)
        after = own - self.first
        # Between two places of the list lie every - 1 places of the recommender.
        taken = np.floor_divide(after, self.every - 1) + 1 if self.every > 1 else listed
        moved = own + np.where(after >= 0, np.minimum(taken, listed), 0)
        u_rec = np.where(own > 0, -moved, -np.inf)
        u_llm = np.where(llm > 0, -(self.first + (llm - 1) * self.every), -np.inf)
        return u_rec, u_llm

    def joined(self, alpha: np.ndarray, u_rec: np.ndarray, u_llm: np.ndarray) -> np.ndarray:
        return np.maximum(u_rec, u_llm)


KINDS: dict[str, type[Fusion]] = {one.kind: one for one in (Paper, Uniform, Bucketed, Inject)}
ALONE = Uniform(0.0)
"""The recommender's ranking; the list only fills places that it leaves free."""
LIST = Uniform(1.0)
"""The list; the recommender only fills places that it leaves free."""


def read_fusion(told: dict[str, Any]) -> Fusion:
    """What `Fusion.told` wrote."""
    return KINDS[told["kind"]](**{name: value for name, value in told.items() if name != "kind"})
