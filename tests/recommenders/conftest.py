"""Small training sets with a known structure."""

from dataclasses import replace

import numpy as np
import pytest

from longtail.recipe import RecommenderSection
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.bm25 import BM25Section
from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.models.ease import EASESection
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.recommenders.models.lightgcn import LightGCNSection
from longtail.recommenders.models.mapped import MappedSection
from longtail.recommenders.models.mixgcf import MixGCFSection
from longtail.recommenders.models.neumf import NeuMFSection
from longtail.recommenders.models.popularity import PopularitySection
from longtail.recommenders.models.rp3beta import RP3betaSection
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.models.sgl import SGLSection
from longtail.recommenders.models.swing import SwingSection
from longtail.recommenders.models.text_order import TextOrderSection
from longtail.text.item_texts import ItemTexts

SECTIONS: dict[str, RecommenderSection] = {
    "popularity": PopularitySection(),
    "itemcf": ItemCFSection(recency=0.8),
    "bm25": BM25Section(recency=0.8),
    "swing": SwingSection(recency=0.8),
    "ease": EASESection(l2=5.0, recency=0.8),
    "rp3beta": RP3betaSection(alpha=1.0, beta=0.6, recency=0.8),
    "bpr": BPRSection(dim=8, epochs=5, lr=0.01, batch=64),
    "lightgcn": LightGCNSection(dim=8, epochs=5, lr=0.01, batch=64),
    "sgl": SGLSection(dim=8, epochs=5, lr=0.01, batch=64),
    "mixgcf": MixGCFSection(dim=8, epochs=5, lr=0.01, batch=64, negatives=4),
    "neumf": NeuMFSection(dim=4, hidden=[8, 4], epochs=5, lr=0.01, batch=64),
    "text_order": TextOrderSection(recency=0.8),
    "mapped": MappedSection(dim=8),
    "sasrec": SASRecSection(dim=8, epochs=2, batch=16, max_length=6, layers=1, negatives=8),
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


def with_texts(train: Interactions) -> Interactions:
    """The training set with words of the items: one that each half of the catalogue shares, and two of eight others."""
    rng, half = np.random.default_rng(0), train.n_items // 2
    texts = [f"half{item // half} {' '.join(rng.choice([*'abcdefgh'], 2))}" for item in range(train.n_items)]
    return replace(train, texts=lambda: ItemTexts(texts))


@pytest.fixture(params=list(SECTIONS))
def name(request: pytest.FixtureRequest) -> str:
    """Each model in turn."""
    return request.param
