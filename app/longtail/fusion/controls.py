"""Controls: the same number of interactions per user without an LLM, to which every lift is compared.

A control copies everything of a strategy except the LLM: how many items each user gets, whether they are the best of
all items or of some candidates, and whether they are sampled.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from longtail.arrays import offsets_of
from longtail.augment.strategies.candidates import unseen
from longtail.augment.strategies.strategy import rng_of
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.recommender import Recommender

SCORES_AT_ONCE = 2**22
"""The number of scores (users x items) that `Sampled` holds at a time: 16 MiB of float32."""


class Control(Protocol):
    """The source of a control's items. Picklable: it is sent to Ray tasks once."""

    def items(
        self, users: np.ndarray, train: Histories, held_out: Histories, counts: np.ndarray
    ) -> Histories:
        """The items for each of users int [n]: `counts` int [n] of them, or fewer if there are not enough.

        Row i is that of users[i]. No item is in the same row of `train` or `held_out`. The items of a user do not
        depend on the other users.
        """
        ...


@dataclass(frozen=True)
class Drawn:
    """Items drawn at random, in proportion to `weights` float64 [n_items]."""

    weights: np.ndarray
    seed: int

    def items(
        self, users: np.ndarray, train: Histories, held_out: Histories, counts: np.ndarray
    ) -> Histories:
        return drawn(users, train.followed_by(held_out), counts, self.weights, self.seed)


@dataclass(frozen=True)
class Best:
    """The best items of a recommender. ItemCF's are the strongest control: they use only the log."""

    model: Recommender

    def items(
        self, users: np.ndarray, train: Histories, held_out: Histories, counts: np.ndarray
    ) -> Histories:
        return best_of(self.model, train, held_out, counts)


@dataclass(frozen=True)
class Sampled:
    """Items sampled from a recommender's list, as `id_list` samples from an LLM: with temperature and top-p.

    The probability of an item is its share of the sum of all scores.
    """

    model: Recommender
    temperature: float
    top_p: float
    seed: int

    def items(
        self, users: np.ndarray, train: Histories, held_out: Histories, counts: np.ndarray
    ) -> Histories:
        found, step = [], max(1, SCORES_AT_ONCE // max(self.model.n_items, 1))
        taken = train.followed_by(held_out)
        for start in range(0, len(users), step):
            rows = np.arange(start, min(start + step, len(users)))
            own, known = train.take(rows), taken.take(rows)
            scores = self.model.score(own, None)
            scores[known.rows, known.items] = -np.inf
            for user, count, row in zip(users[rows].tolist(), counts[rows], scores, strict=True):
                found.append(self._sampled(row, int(count), rng_of(self.seed, user)))
        return Histories.of(found)

    def _sampled(self, scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` different items, one after the other.

        Each is drawn from the smallest set of the items still left that has the share `top_p` of their probability.
        """
        possible = np.flatnonzero(scores > 0)
        items = possible[np.argsort(-scores[possible], kind="stable")]
        shares = (scores[items].astype(np.float64) / scores[items[:1]]) ** (1 / self.temperature)
        taken = []
        for _ in range(min(count, len(items))):
            ends = np.cumsum(shares)
            # The last item that may be drawn.
            last = min(int(np.searchsorted(ends, self.top_p * ends[-1])), len(ends) - 1)
            chosen = min(int(np.searchsorted(ends, rng.random() * ends[last], side="right")), last)
            taken.append(items[chosen])
            items, shares = np.delete(items, chosen), np.delete(shares, chosen)
        return np.array(taken, np.int32)


@dataclass(frozen=True)
class Picked:
    """Among the candidates that `insertion` showed to the LLM, the ones that a recommender ranks first.

    Of equal ones, the first drawn. pool int32: the items from which candidates are drawn; shown: how many are drawn.
    """

    model: Neighbours
    pool: np.ndarray
    shown: int
    seed: int

    def items(
        self, users: np.ndarray, train: Histories, held_out: Histories, counts: np.ndarray
    ) -> Histories:
        candidates = Histories.of(
            unseen(rng_of(self.seed, user), self.pool, train.items[start:end], self.shown)
            for user, start, end in zip(users.tolist(), train.indptr, train.indptr[1:], strict=False)
        )
        rows, items = candidates.rows, candidates.items
        free = ~candidates.pairs_in(held_out)
        rows, items = rows[free], items[free]
        order = np.lexsort((-self.model.affinities(train, rows, items), rows))
        rows, items = rows[order], items[order]
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < counts[rows]
        lengths = np.bincount(rows[kept], minlength=len(users))
        return Histories(offsets_of(lengths), items[kept])


def drawn(
    users: np.ndarray, known: Histories, counts: np.ndarray, weights: np.ndarray, seed: int
) -> Histories:
    """Draw `counts` int [users] items for each user, without replacement, in proportion to `weights` [n_items].

    known: the items of each user that must not be drawn, held-out items included. The items of a user depend only on
    seed and user. If there are too few possible items, all of them are taken. An item that must not be drawn is drawn
    again; this gives the same distribution as drawing only from the possible items.
    """
    ends = np.cumsum(weights, dtype=np.float64)
    possible = np.flatnonzero(weights > 0)
    found = []
    for row, (user, count) in enumerate(zip(users.tolist(), counts.tolist(), strict=True)):
        taken, rng = set(known.items[known.indptr[row] : known.indptr[row + 1]].tolist()), rng_of(seed, user)
        if 2 * (count + len(taken)) >= len(
            possible
        ):  # nearly all items: most draws would have to be repeated
            rest = np.setdiff1d(possible, list(taken))
            share = weights[rest] / weights[rest].sum() if len(rest) else None
            found.append(rng.choice(rest, min(count, len(rest)), replace=False, p=share))
            continue
        own = []
        while len(own) < count:
            item = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
            if item not in taken:
                taken.add(item)
                own.append(item)
        found.append(np.array(own, np.int32))
    return Histories.of(found)


def best_of(model: Recommender, histories: Histories, held_out: Histories, counts: np.ndarray) -> Histories:
    """A recommender's best items for each user: `counts` of them, fewer if there are not enough, none held out."""
    depth = int(counts.max(initial=0)) + int(held_out.lengths.max(initial=0))
    rows = [
        histories.items[start:end] for start, end in zip(histories.indptr, histories.indptr[1:], strict=False)
    ]
    items, _ = model.recommend_history(rows, depth)
    cells = np.arange(len(items))[:, None] * np.int64(model.n_items)
    free = (items >= 0) & ~np.isin(items + cells, held_out.rows * np.int64(model.n_items) + held_out.items)
    kept = free & (np.cumsum(free, axis=1) <= counts[:, None])
    return Histories(offsets_of(kept.sum(axis=1)), items[kept].astype(np.int32))
