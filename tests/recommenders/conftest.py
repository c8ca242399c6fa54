"""Small training sets with a known structure."""

import numpy as np
import pytest

from longtail import recipe
from longtail.recipe import RecommenderSection
from longtail.recommenders.interface import Interactions

SECTIONS: dict[str, RecommenderSection] = {
    "popularity": recipe.Popularity(),
    "itemcf": recipe.ItemCF(recency=0.8),
    "bm25": recipe.BM25(recency=0.8),
    "swing": recipe.Swing(recency=0.8),
    "bpr": recipe.BPR(dim=8, epochs=5, lr=0.01, batch=64),
    "lightgcn": recipe.LightGCN(dim=8, epochs=5, lr=0.01, batch=64),
    "sgl": recipe.SGL(dim=8, epochs=5, lr=0.01, batch=64),
    "mixgcf": recipe.MixGCF(dim=8, epochs=5, lr=0.01, batch=64, negatives=4),
    "neumf": recipe.NeuMF(dim=4, hidden=[8, 4], epochs=5, lr=0.01, batch=64),
    "sasrec": recipe.SASRec(dim=8, epochs=2, batch=16, max_length=6, layers=1),
}
"""Every model, as small as it goes."""


def interactions(
    observed: list[list[int]], n_items: int, generated: list[list[int]] | None = None, weight: float = 0.3
) -> Interactions:
    """A training set from lists of items per user, oldest first."""
    generated = generated or [[] for _ in observed]
    rows = [own + more for own, more in zip(observed, generated, strict=True)]
    weights = [[1.0] * len(own) + [weight] * len(more) for own, more in zip(observed, generated, strict=True)]
    return Interactions(
        indptr=np.cumsum([0, *map(len, rows)]),
        items=np.array([item for row in rows for item in row], np.int32),
        weights=np.array([value for row in weights for value in row], np.float32),
        observed=np.array([len(own) for own in observed], np.int64),
        n_items=n_items,
    )


def clusters(users: int = 60, n_items: int = 24, seed: int = 0) -> Interactions:
    """Users of two tastes; even users take 6 of the lower, odd ones 6 of the upper half of the items but the
    last two, which nobody takes. User 0 took nothing. Everybody else has two generated items of the own half.
    """
    rng = np.random.default_rng(seed)
    half = n_items // 2 - 1
    rows = [list(map(int, rng.permutation(half)[:8] + (user % 2) * half)) for user in range(users)]
    observed = [[], *(row[:6] for row in rows[1:])]
    generated = [[], *(row[6:] for row in rows[1:])]
    return interactions(observed, n_items, generated)


@pytest.fixture(params=list(SECTIONS))
def name(request: pytest.FixtureRequest) -> str:
    """Each model in turn."""
    return request.param
