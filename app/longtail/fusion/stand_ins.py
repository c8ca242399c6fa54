"""Recommenders in the place of the generator: they propose as many items as the LLM did, and the same judge decides.

The judge blends how likely the stand-in holds an item with the agreement of ItemCF. P(Yes) comes from a second LLM, so a
control has none.
"""

from dataclasses import dataclass

import numpy as np

from longtail.arrays import offsets_of
from longtail.augment.judge import list_scores
from longtail.data.catalogue import COLD, SLICES, TAIL
from longtail.fusion.amounts import Amounts, first
from longtail.recipe import Judge
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.recommender import SCORES_AT_ONCE, Recommender
from longtail.recommenders.scoring.best_k import top_k
from longtail.recommenders.trained_section import TrainedSection


@dataclass(frozen=True)
class StandIn:
    """A fitted recommender, the ItemCF that agrees with it or not, and the judge that blends the two."""

    model: Recommender
    itemcf: Neighbours
    judge: Judge

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        """See `controls.Control`. Of each slice, as many items are proposed as the LLM proposed; then the judge takes the
        best of each slice.
        """
        rows, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for block in self._blocks(len(users)):
            known = train.take(block)
            likelihood = likelihoods(self.model, users[block], known)
            own, found, values = proposed(likelihood, amounts.proposed[block], amounts.slices)
            scores = self.scores(known, own, found, values, amounts.slices)
            order = np.lexsort((found, -scores, own))
            own, found = own[order], found[order]
            kept = first(own, found, amounts.added[block], amounts.slices)
            rows.append(block[own[kept]])
            items.append(found[kept])
        lengths = np.bincount(np.concatenate(rows), minlength=len(users))
        return Histories(offsets_of(lengths), np.concatenate(items))

    def lists(
        self, users: np.ndarray, train: Histories, lengths: np.ndarray, slices: np.ndarray
    ) -> tuple[Histories, np.ndarray]:
        """A list for each of users int [n], as the LLM's is made (`judge.rankings`): the `lengths` int [n] likeliest items
        that the user does not have, ordered by the judge; and the scores float32 of all entries.
        """
        items, scores, found_lengths = (
            [np.zeros(0, np.int32)],
            [np.zeros(0, np.float32)],
            np.zeros(len(users), int),
        )
        for block in self._blocks(len(users)):
            known = train.take(block)
            likelihood = likelihoods(self.model, users[block], known)
            counts = lengths[block][:, None]
            own, found, values = proposed(likelihood, counts, np.zeros_like(slices))
            own_scores = self.scores(known, own, found, values, slices)
            order = np.lexsort((found, -own_scores, own))
            items.append(found[order])
            scores.append(own_scores[order].astype(np.float32))
            found_lengths[block] = np.bincount(own, minlength=len(block))
        return Histories(offsets_of(found_lengths), np.concatenate(items)), np.concatenate(scores)

    def scores(
        self,
        train: Histories,
        rows: np.ndarray,
        items: np.ndarray,
        likelihood: np.ndarray,
        slices: np.ndarray,
    ) -> np.ndarray:
        """What the judge makes of items int [n] for the histories in rows int [n], ascending: float64 [n]."""
        rare = np.isin(slices[items], [SLICES.index(name) for name in (TAIL, COLD)])
        return list_scores(likelihood, self.itemcf.affinities(train, rows, items), rows, rare, self.judge)

    def _blocks(self, n: int) -> list[np.ndarray]:
        step = max(1, SCORES_AT_ONCE // max(1, self.model.n_items))
        return [np.arange(start, min(start + step, n)) for start in range(0, n, step)]


def likelihoods(model: Recommender, users: np.ndarray, train: Histories) -> np.ndarray:
    """How likely the next item of each of users int [n] is each item: float32 [n, n_items], 0 for what the user has.

    Trained recommenders: the softmax of the scores. Others: the share of the score in the sum of all positive ones.
    """
    scores = model.score(train, users)
    scores[train.rows, train.items] = -np.inf
    if isinstance(model.section, TrainedSection):
        largest = scores.max(axis=1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isfinite(largest), largest, 0))
    else:
        weights = np.maximum(scores, 0)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def proposed(
    likelihood: np.ndarray, counts: np.ndarray, slices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest items of each row, counts int [rows, slices] of each slice, none with likelihood 0: rows int64 [n],
    ascending, items int32 [n] and their likelihood float32 [n].

    likelihood float32 [rows, n_items]; slices int [n_items].
    """
    parts = []
    for code in range(counts.shape[1]):
        columns, most = np.flatnonzero(slices == code), counts[:, code]
        found, values = top_k(np.ascontiguousarray(likelihood[:, columns]), int(most.max(initial=0)))
        rows, places = np.nonzero((found >= 0) & (values > 0) & (np.arange(found.shape[1]) < most[:, None]))
        parts.append((rows, columns[found[rows, places]].astype(np.int32), values[rows, places]))
    rows, items, values = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    return rows[order], items[order], values[order]
