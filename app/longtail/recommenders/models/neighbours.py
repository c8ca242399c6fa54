"""Item-to-item recommendation from similarities: the base of ItemCF, BM25, Swing, EASE and RP3beta.

The score of item i for a user is the sum of recency^steps_back(j) * s(j, i) over those items j of the history that have
i among their nearest neighbours. LLM-I2I (arXiv 2512.21595) also serves from lists of the nearest neighbours.
"""

from abc import abstractmethod
from copy import copy
from typing import Annotated, ClassVar, Self

import numba
import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy.sparse import csr_matrix

from longtail.arrays import lengths_of, lists_of, offsets_of, rows_of
from longtail.errors import InputError
from longtail.recipe import RecommenderSection
from longtail.recipe.section import Positive, Share
from longtail.recipe.tuning import Axis
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.models.nearest import best_first, usual_best
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.exposure import PLACES, factor_for, some_users
from longtail.workspace.place import Place

NEIGHBOURS: Axis = [20, 50, 100, 200]
RECENCY: Axis = [0.6, 0.7, 0.8, 0.9, 1.0]
"""The default search space of `longtail tune` for these two settings."""


class NeighboursSection(RecommenderSection):
    """The settings that all item-to-item recommenders share."""

    neighbours: Positive = 100
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """An item of the history with k later items has weight recency^k."""
    text: Annotated[float, Field(ge=0)] = 0.0
    """How much the similarity of texts counts beside that of the log. 0: texts are not read."""
    cold_share: Share = 0.05
    """With texts: the share of users' first ten places that cold items take at most."""

    @property
    def reads_texts(self) -> bool:
        return self.text > 0


class Neighbours(Recommender):
    """Scores from an item x item CSR matrix; row j has the neighbours of item j, best first.

    A model gives the similarities of the log. With `text` above 0 those of texts are added, so that a cold item, which
    nobody took, is a neighbour too:

        s(j, i) = l(j, i) + text f_i l / t t(j, i)

    l(j, i), t(j, i): the similarities of the log and of texts (`similar_texts`). l, t: the mean over all items with
    neighbours of the largest similarity of an item, so that `text` means the same for all data and models. f_i is 1 for warm
    items. For cold items it is the factor at which they take `cold_share` of the first ten places of the users of the
    training set, or as large a share as that of cold items in the catalogue if that is smaller.

    An item is a candidate only if its sum over the history is above 0. Similarities may be negative (EASE): they lower
    the sum, and such a neighbour is not one of the similar items. The similarities are saved in
    `neighbours.parquet`: item int32, neighbours list<int32>, scores list<float32>, one row per item, best first. Other
    serving systems can read this file. The section of such a model has `neighbours` and `recency`.
    """

    section: NeighboursSection
    needs_text: ClassVar[bool] = True
    """Whether the fit fails if `text` is above 0 and no two items share a word."""
    similarity: csr_matrix
    text_scale: np.ndarray | None = None
    """text f_i l / t of each item i, float32 [items], for items that come after the fit; None if it read no texts."""
    cold: np.ndarray = np.zeros(0, np.int32)
    """The items that nobody had taken at the fit, int32, ascending; empty if it read no texts."""

    @abstractmethod
    def of_log(self, train: Interactions) -> csr_matrix:
        """The similarities of the log, float32 [items, items]; row j has the neighbours of item j, best first."""

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        self.similarity, self.text_scale, self.cold = self.of_log(train), None, Neighbours.cold
        if self.section.text:
            texts = similar_texts(train.texts and train.texts(), self.section.neighbours)
            if texts.nnz:
                self._add(texts, np.asarray(train.matrix.sum(axis=0)).ravel() > 0)
            elif self.needs_text:
                raise InputError(
                    "text: no two items share a word. Set text to 0, or name the columns with the titles of items"
                    " (dataset.columns)."
                )

    def _add(self, texts: csr_matrix, warm: np.ndarray) -> None:
        """Add the similarities of texts. warm bool [items]: which items somebody took."""
        scale = self.section.text * usual_best(self.similarity) / usual_best(texts)
        self.text_scale = np.full(self.n_items, scale, np.float32)
        scaled = texts * scale
        cold = csr_matrix(scaled.multiply(~warm))
        known = best_first(self.similarity + csr_matrix(scaled.multiply(warm)))
        self.cold = np.flatnonzero(~warm).astype(np.int32)
        if not cold.nnz:
            self.similarity = known
            return
        factor = self._mix(known, cold, self.section.cold_share)
        self.text_scale[~warm] *= factor
        self.counts["factor of cold items"] = factor

    def _mix(self, known: csr_matrix, cold: csr_matrix, share: float) -> float:
        """Set the similarities to `known` and to those of `cold` items, times the factor at which they take `share` of the
        first places, or as much as their share of the catalogue if that is smaller. Returns the factor.
        """
        users, best = some_users(self.seen), []
        for self.similarity in (known, best_first(cold)):
            best.append(self.recommend(users, PLACES)[1])
        factor = factor_for(*best, min(share, len(self.cold) / self.n_items))
        self.similarity = best_first(known + cold * factor)
        return factor

    def at_share(self, share: float) -> Self | None:
        cold = np.zeros(self.n_items, bool)
        cold[self.cold] = True
        if not cold[self.similarity.indices].any():
            return None
        changed = copy(self)
        # The factor that they have now changes nothing: another one is found.
        known, own = (csr_matrix(self.similarity.multiply(chosen)) for chosen in (~cold, cold))
        changed._mix(best_first(known), own, share)
        return changed

    def similar_items(self, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours of `items` int [n], best first: items int32 [n, k] and their similarities float32 [n, k].

        If an item has fewer than k neighbours, the rest is -1 and -inf. The model keeps at most `neighbours` (a setting)
        per item. Raises InputError for an item that is not in the catalogue.
        """
        items = np.asarray(items, np.int64)
        if len(items) and not 0 <= items.min() <= items.max() < self.n_items:
            raise InputError(f"items: {items.min()}..{items.max()}, the catalogue has 0..{self.n_items - 1}.")
        found = self.similarity[items]
        rows = rows_of(np.diff(found.indptr))
        places = np.arange(found.nnz) - found.indptr[rows]
        near = (places < k) & (found.data > 0)
        neighbours = np.full((len(items), k), -1, np.int32)
        scores = np.full((len(items), k), -np.inf, np.float32)
        neighbours[rows[near], places[near]] = found.indices[near]
        scores[rows[near], places[near]] = found.data[near]
        return neighbours, scores

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        scores = self._sums(histories).toarray()
        scores[scores <= 0] = -np.inf
        return scores

    def affinities(self, histories: Histories, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The score of items[r] for the history in row rows[r]: float32 [n], from `items` and `rows` int [n].

        It is 0 if the item is not a neighbour of any item of that history.
        """
        if not len(items):  # for empty indices SciPy returns a matrix, not a vector
            return np.zeros(0, np.float32)
        return np.asarray(self._sums(histories)[rows, items], np.float32).ravel()

    def _sums(self, histories: Histories) -> csr_matrix:
        weights = self.section.recency ** histories.steps_back.astype(np.float32)
        return histories.matrix(weights, self.n_items) @ self.similarity

    def _top(
        self, histories: Histories, users: np.ndarray | None, k: int, exclude_seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Recommender._top`, but only over the neighbours of the history: they are few in a large catalogue."""
        sums = self._sums(histories)
        seen = histories if exclude_seen else histories.emptied()
        items = np.full((len(histories), k), -1, np.int32)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        _best_of_rows(sums.indptr, sums.indices, sums.data, seen.indptr, seen.items, items, scores)
        return items, scores

    def arrays(self) -> dict[str, np.ndarray]:
        return {} if self.text_scale is None else {"text_scale": self.text_scale, "cold": self.cold}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.text_scale = arrays.get("text_scale")
        self.cold = arrays.get("cold", Neighbours.cold)

    def contributions(self, history: np.ndarray, items: np.ndarray) -> np.ndarray:
        """What each item of a history int [h], oldest first, adds to the score of each of `items` int [m]: float32 [h, m].

        The sum over the history is the score. Of an item that occurs more than once only the latest occurrence adds.
        """
        asked = Histories.of([history])
        weights = self.section.recency ** asked.steps_back.astype(np.float32)
        latest_first = asked.items[::-1]
        _, latest = np.unique(latest_first, return_index=True)
        counted = np.zeros(len(history), np.float32)
        counted[len(history) - 1 - latest] = 1
        near = self.similarity[asked.items][:, np.asarray(items)].toarray()
        return near * (weights * counted)[:, None]

    def parts(self) -> dict[str, np.ndarray]:
        near = self.similarity
        index = np.int32 if near.nnz < 2**31 else np.int64
        return super().parts() | {
            "similarity_indptr": near.indptr.astype(index),
            "similarity_indices": near.indices.astype(index),
            "similarity_data": near.data,
        }

    def assembled(self, n_items: int, parts: dict[str, np.ndarray]) -> Self:
        parts = dict(parts)
        names = ("similarity_data", "similarity_indices", "similarity_indptr")
        near = tuple(parts.pop(name) for name in names)
        self.similarity = csr_matrix(near, shape=(n_items, n_items))
        return super().assembled(n_items, parts)

    def save(self, place: Place) -> None:
        super().save(place)
        columns = {
            "item": pa.array(np.arange(self.n_items), pa.int32()),
            "neighbours": lists_of(self.similarity.indptr, self.similarity.indices.astype(np.int32)),
            "scores": lists_of(self.similarity.indptr, self.similarity.data.astype(np.float32)),
        }
        (place / "neighbours.parquet").write_table(pa.table(columns))

    def load(self, place: Place) -> Self:
        super().load(place)
        table = (place / "neighbours.parquet").read_table().combine_chunks()
        lists = table["neighbours"].combine_chunks()
        starts = offsets_of(lengths_of(lists))
        scores = table["scores"].combine_chunks().flatten().to_numpy()
        self.similarity = csr_matrix(
            (scores, lists.flatten().to_numpy(), starts), shape=(self.n_items, self.n_items)
        )
        return self


def neighbour_matrix(items: np.ndarray, scores: np.ndarray, n_items: int) -> csr_matrix:
    """CSR [rows, n_items] from lists of items and scores [rows, k]. Entries with item -1, or with a score that is not
    positive, are left out.
    """
    kept = (items >= 0) & (scores > 0)
    indptr = offsets_of(kept.sum(axis=1))
    return csr_matrix((scores[kept], items[kept], indptr), shape=(len(items), n_items))


@numba.njit(nogil=True, cache=True)
def insert(code: int, score: float, which: np.ndarray, best: np.ndarray) -> None:
    """Insert an item and its score into the lists of the best k so far: `which` int32 and `best` float32.

    Equal scores are ordered by code. Few scores are better than the k-th, so nearly always one comparison is enough.
    """
    place = len(best)
    while place > 0 and (score > best[place - 1] or (score == best[place - 1] and code < which[place - 1])):
        if place < len(best):
            best[place], which[place] = best[place - 1], which[place - 1]
        place -= 1
    if place < len(best):
        best[place], which[place] = score, code


@numba.njit(nogil=True, cache=True)
def _best_of_rows(
    starts: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    seen_starts: np.ndarray,
    seen: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Write the best positive values of each CSR row, without the `seen` columns, into items and scores [rows, k]."""
    for row in range(len(items)):
        own = set(seen[seen_starts[row] : seen_starts[row + 1]])
        for p in range(starts[row], starts[row + 1]):
            if values[p] > 0 and columns[p] not in own:
                insert(columns[p], values[p], items[row], scores[row])
