"""Vectors of cold items from their texts: those that the recommender's own map gives, or ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from longtail.recommenders.interactions import Targets
from longtail.recommenders.scoring.candidate_items import CandidateRecommender, Candidates
from longtail.recommenders.training.text_ridge import TextRidge
from longtail.recommenders.training.validation import ndcg, watched

ColdMap = Literal["learnt", "ridge"]
LEARNT: ColdMap = "learnt"
RIDGE: ColdMap = "ridge"


@dataclass(frozen=True)
class ColdItems:
    """The cold items of a fit that have a text, and their vectors.

    codes int [m], ascending. tables: arrays of the model, float32 [n_items, width] each, of which the first has the vectors
    that are ranked. ridge: for each table the vectors of the cold items float32 [m, width].
    """

    codes: np.ndarray
    tables: Sequence[np.ndarray]
    ridge: Sequence[np.ndarray]

    @classmethod
    def of(
        cls, warm: np.ndarray, texts: np.ndarray, tables: Sequence[np.ndarray]
    ) -> tuple["ColdItems | None", dict]:
        """With figures for the manifest; None if there is no cold item with a text, or no warm one. warm bool [n_items];
        texts float32 [n_items, width], a row is 0 without a text.
        """
        told = texts.any(axis=1)
        known, codes = np.flatnonzero(warm & told), np.flatnonzero(~warm & told)
        if not len(known) or not len(codes):
            return None, {}
        ridges = [TextRidge.of(texts[known], table[known]) for table in tables]
        figures = {"ridge strength": ridges[0].strength, "ridge error": round(ridges[0].error, 4)}
        return cls(codes, tables, [ridge(texts[codes]) for ridge in ridges]), figures

    def place(self, vectors: np.ndarray | None = None) -> None:
        """Write the vectors into the tables; `vectors` float32 [m, width] in place of the ridge's into the first."""
        for table, own in zip(self.tables, self.ridge, strict=True):
            table[self.codes] = own
        if vectors is not None:
            self.tables[0][self.codes] = vectors

    def better(
        self, model: CandidateRecommender, learnt: np.ndarray, validation: Targets | None, seed: int
    ) -> tuple[ColdMap, dict]:
        """Which vectors rank cold items best for the users of validation who took one: by NDCG@10 among cold items. The
        ridge's if nobody did, for they alone were chosen on items that were left out. With figures for the manifest.
        """
        met = np.zeros(0, bool) if validation is None else np.isin(validation.items, self.codes)
        if not met.any():
            return RIDGE, {}
        targets = watched(Targets(validation.users[met], validation.items[met]), seed)
        warm = model.candidates.warm
        model.candidates = Candidates(np.zeros_like(warm), self.codes.astype(np.int32))
        found: dict[ColdMap, float] = {}
        for name, vectors in ((RIDGE, None), (LEARNT, learnt)):
            self.place(vectors)
            found[name] = round(ndcg(model, targets)[1], 4)
        model.candidates = Candidates(warm)
        figures = {f"validation NDCG@10 among cold items, {name}": value for name, value in found.items()}
        return max(found, key=found.__getitem__), figures


def as_long(mapped: np.ndarray, vectors: np.ndarray) -> float:
    """The factor of `mapped` that comes nearest to `vectors`, both float [n, width], by least squares.

    In the layer mean of a graph convolution only layer 0 of a cold item is not 0, so that its vector would be some thrice
    too short beside those of warm items.
    """
    squares = float(np.square(mapped, dtype=np.float64).sum())
    return float((mapped.astype(np.float64) * vectors).sum()) / squares if squares else 1.0
