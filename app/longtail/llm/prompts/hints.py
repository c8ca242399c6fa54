"""Prompt augmentation of Llama4Rec (arXiv 2401.13870): the most similar user, and a recommender's ranking of candidates.

Both are computed from the items that the user took before the items to be ranked. The user's own interactions with the
targets are removed from the similarities, so that a hint in tuning is no better than a hint at inference, where the user
has not taken the targets. For the same reason the vector of a user, if users are compared by vectors, is the sum of the
vectors of the items in the prompt, and not the one that was fitted with the targets.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix

from longtail.recipe import RecommenderSection, Tuning
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.recommenders.training.reading import read_observed
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Hints:
    """The observed training log by user and by item, and an item-to-item recommender's similarities; only for Ray tasks.

    items int32 [n]: those of user u are items[starts[u] : starts[u + 1]], oldest first. takers: items x users, ones.
    similarity: items x items, row j has the neighbours of j; it must be a cosine if `ranked` gets targets. recency: the
    weight of an item of a history, divided by the weight of the next item. similar_user: see `Tuning`. vectors: those of
    the items, float32 [n_items, dim], if it is `embedding`.
    """

    starts: np.ndarray
    items: np.ndarray
    takers: csr_matrix
    similarity: csr_matrix
    recency: float = 1.0
    similar_user: str = "overlap"
    vectors: np.ndarray | None = None

    def history(self, user: int) -> np.ndarray:
        """The training history of a user, oldest first."""
        return self.items[self.starts[user] : self.starts[user + 1]]

    def similar(self, user: int, history: np.ndarray) -> np.ndarray:
        """The training history of the other user who is most similar to `history`; of equals, the lowest code.

        Empty if nobody is similar at all: took an item of `history`, or has a vector with a cosine above 0.
        """
        if self.similar_user == "none":
            return self.items[:0]
        closeness = self._overlap(history) if self.vectors is None else self._cosine(history)
        closeness[user] = 0
        best = int(closeness.argmax())
        return self.history(best) if closeness[best] > 0 else self.items[:0]

    def _overlap(self, history: np.ndarray) -> np.ndarray:
        """The square of the cosine of each user's history, times the length of `history`: equal cosines stay equal."""
        rows = self.takers.indptr
        others = np.concatenate([self.takers.indices[rows[item] : rows[item + 1]] for item in history])
        shared = np.bincount(others, minlength=len(self.starts) - 1).astype(np.float64)
        return shared**2 / np.maximum(np.diff(self.starts), 1)

    def _cosine(self, history: np.ndarray) -> np.ndarray:
        """The cosine of each user's vector with that of `history`, float32 [users]."""
        return self._users @ _unit(self.vectors[history].sum(axis=0, keepdims=True))[0]

    @cached_property
    def _users(self) -> np.ndarray:
        """The sum of the item vectors of each user, scaled to length 1; float32 [users, dim]."""
        return _unit(self.takers.T.astype(np.float32) @ self.vectors)

    def ranked(self, history: np.ndarray, candidates: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The candidates as the ItemCF ranks them after `history`, best first; equal ones keep their order.

        targets: the candidates that this user took in the training log. They are scored as if the user had not taken
        them: in the cosine C / sqrt(n_j n_c), the user counts for one in C and one in n_c, and both are subtracted.
        """
        near = self.similarity[history][:, candidates].toarray().astype(np.float64)
        counts = np.diff(self.takers.indptr)
        of_target = np.isin(candidates, targets)
        known, met = counts[history][:, None], counts[candidates][None, :]
        others = np.maximum(met - of_target, 1)
        shared = np.where(near > 0, near * np.sqrt(known * met) - of_target, 0)
        scores = (np.maximum(shared, 0) / np.sqrt(known * others)).sum(axis=0)
        return candidates[np.argsort(-scores.round(6), kind="stable")]

    def top(self, history: np.ndarray, count: int) -> np.ndarray:
        """The recommender's best items after `history`, int32, best first, equal ones by code. Items of the history are
        excluded. Fewer than `count` if no more items have a score.
        """
        near = self.similarity[history]
        weights = self.recency ** np.arange(len(history) - 1, -1, -1.0)
        items, places = np.unique(near.indices, return_inverse=True)
        scores = np.bincount(places, near.data * np.repeat(weights, np.diff(near.indptr)))
        scores[np.isin(items, history)] = 0
        best = np.lexsort((items, -scores))[:count]
        return items[best[scores[best] > 0]].astype(np.int32)


def build_hints(
    data: Place,
    recommender: str = "itemcf",
    section: RecommenderSection | None = None,
    seed: int = 0,
    tuning: Tuning | None = None,
) -> Hints:
    """Hints from the training part of a published `data/`: the recommender with settings `section` is fitted on it.

    The default is an ItemCF with a plain cosine, which tuning needs. tuning: says which user is similar.
    """
    section, train = section or ItemCFSection(), read_observed(data)
    similarity = build(recommender, section, seed).fit(train).similarity
    similar_user = tuning.similar_user if tuning else "overlap"
    vectors = item_vectors(train, seed) if similar_user == "embedding" else None
    takers = csr_matrix(train.matrix.T)
    return Hints(train.indptr, train.items, takers, similarity, section.recency, similar_user, vectors)


def item_vectors(train: Interactions, seed: int) -> np.ndarray:
    """The item vectors of a BPR with its default settings, float32 [n_items, dim]; zero for an item that nobody took."""
    model = build("bpr", BPRSection(), seed).fit(train)
    return np.where(model.candidates.warm[:, None], model.items, 0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
