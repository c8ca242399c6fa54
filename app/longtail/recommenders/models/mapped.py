"""Mapped: factors of the log by ALS (Hu, Koren, Volinsky, ICDM 2008), and for cold items what their texts say of them.

The library `implicit` finds the factors. It is the control for learned recommenders with texts: it trains nothing of texts,
and only maps them, in closed form.
"""

from functools import cached_property
from typing import Annotated

import numpy as np
from implicit.als import AlternatingLeastSquares
from pydantic import Field
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from longtail.recipe import LogRange, RecommenderSection
from longtail.recipe.section import Positive, Share
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.models.nearest import own_threads
from longtail.recommenders.scoring.dot_products import DotRecommender
from longtail.recommenders.training.cold_vectors import ColdItems
from longtail.recommenders.training.text_ridge import WORDS


class MappedSection(RecommenderSection):
    dim: Positive = 64
    alpha: Annotated[float, Field(gt=0)] = 10.0
    """The confidence of an interaction of weight 1; what a user did not take has 1."""
    l2: Annotated[float, Field(ge=0)] = 0.1
    iterations: Positive = 15
    cold_share: Share = 0.05
    """The share of users' first ten places that cold items take at most."""

    @property
    def reads_texts(self) -> bool:
        return True


class Mapped(DotRecommender):
    """The factors x, y minimise sum over users and items of c_ui (p_ui - x_u y_i)^2 + l2 (|x|^2 + |y|^2), with p_ui = 1 and
    c_ui = alpha r_ui for an interaction, else 0 and 1. The factors of a user are found anew from each history, in closed
    form. Without texts no cold item is ranked.
    """

    section: MappedSection

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        section, log = self.section, csr_matrix(train.matrix, dtype=np.float32)
        log.eliminate_zeros()
        with threadpool_limits(
            1, "blas"
        ):  # the library has threads of its own, and is slow if BLAS has some too
            model = AlternatingLeastSquares(
                factors=section.dim,
                alpha=section.alpha,
                regularization=section.l2,
                iterations=section.iterations,
                num_threads=own_threads(),
                random_state=self.seed,
            )
            model.fit(log, show_progress=False)
        warm = np.zeros(train.n_items, bool)
        warm[log.indices] = True
        self.restore({"items": np.where(warm[:, None], model.item_factors, 0), "warm": warm})
        texts = train.texts().dense(seed=0, words=WORDS) if train.texts else np.zeros((train.n_items, 0))
        cold, self.counts = ColdItems.of(warm, texts, [self.items])
        if cold is not None:
            cold.place()
            self.offer(cold.codes, self.section.cold_share)

    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """x = (Y'Y + l2 + sum (alpha - 1) y_i y_i')^-1 sum alpha y_i over the items of the history: float32 [rows, dim].

        A cold item of a history counts as any other. What a user did not take, the first sum, has warm items alone.
        """
        alpha, dim = self.section.alpha, self.section.dim
        found = np.zeros((len(histories), dim), np.float32)
        taken = histories.matrix(np.ones(len(histories.items), np.float32), self.n_items)
        for row, (start, end) in enumerate(zip(taken.indptr[:-1], taken.indptr[1:], strict=True)):
            if start < end:
                own = self.items[taken.indices[start:end]].astype(np.float64)
                found[row] = np.linalg.solve(
                    self._square + (alpha - 1) * own.T @ own, alpha * own.sum(axis=0)
                )
        return found

    @cached_property
    def _square(self) -> np.ndarray:
        """Y'Y + l2 of the warm items, float64 [dim, dim]. With l2 = 0 a trace of it is left, so that it can be solved."""
        known = self.items[self.candidates.warm].astype(np.float64)
        return known.T @ known + max(self.section.l2, 1e-9) * np.eye(self.section.dim)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"items": self.items} | self.candidates.arrays()

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.items = arrays["items"]
        self.restore_candidates(arrays)
        self.__dict__.pop("_square", None)


SPEC = RecommenderSpec(
    title="Mapped",
    settings=MappedSection,
    model=Mapped,
    space={"alpha": LogRange(log=(1.0, 100.0)), "l2": LogRange(log=(1e-3, 100.0))},
)
