"""Controls: the same number of interactions per user and item slice without an LLM, to which every lift is compared.

A control copies everything of a strategy except the LLM: how many items of each slice each user gets, whether they are
the best of all items or of some candidates, and whether they are sampled. If a user has too few possible items of a
slice, no other slice fills the gap. The control of `cold_users` copies how many users each item gets instead.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from longtail.arrays import offsets_of
from longtail.augment.strategies.candidates import unseen
from longtail.augment.strategies.item_tokens import warm_items
from longtail.augment.strategies.strategy import rng_of
from longtail.fusion.amounts import Amounts, first
from longtail.fusion.chosen import Chosen
from longtail.fusion.stand_ins import StandIn
from longtail.recipe import Judge, Recipe
from longtail.recommenders import load
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.training.reading import observed_itemcf
from longtail.variants import VARIANTS, TrainedVariant
from longtail.workspace.place import Place

SCORES_AT_ONCE = 2**22
"""The number of scores (users x items) that a control holds at a time: 16 MiB of float32."""
DEEPER = 8
"""The factor by which `best_of` reads a list deeper if it lacks items of a slice."""


class Control(Protocol):
    """The source of a control's items. Picklable: it is sent to Ray tasks once."""

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        """The items for each of users int [n]: as many of each slice as were `added`, or fewer if there are not enough. (One
        that copies the number of users of each item gives a user another number.)

        Row i is that of users[i]. No item is in the same row of `train`. The items of a user do not depend on the
        other users.
        """
        ...


def build_control(
    recipe: Recipe,
    variant: TrainedVariant,
    judge: Judge,
    data: Place,
    items: pa.Table,
    fit: Place | None = None,
    chosen: Chosen | None = None,
) -> Control:
    """The source of a control's items. Only for Ray tasks, because it may hold a recommender.

    items: at least the columns train_count and slice of `schema.ITEMS`. fit: the published stand-in of the generator.
    chosen: what the control copies, for one that copies the number of users of each item.
    """
    stand_in = VARIANTS[variant].stand_in
    if stand_in == "users":
        known = (data / "histories").read_table(["user", "train_end"]).sort_by("user")
        return RandomUsers.drawn(chosen.added, known["train_end"].to_numpy() > 0, recipe.seed)
    if stand_in == "popular":
        return Drawn(items["train_count"].to_numpy().astype(np.float64), recipe.seed)
    if stand_in == "random":
        return Drawn(np.ones(items.num_rows), recipe.seed)
    itemcf = observed_itemcf(data, recipe.itemcf)
    if stand_in == "sampled":
        asked = recipe.strategies["id_list"]
        return Sampled(itemcf, asked.temperature, asked.top_p, recipe.seed)
    if stand_in == "picked":
        return Picked(itemcf, warm_items(items), recipe.strategies["insertion"].candidates, recipe.seed)
    return Best(itemcf) if fit is None else StandIn(load(fit), itemcf, judge)


@dataclass(frozen=True)
class Drawn:
    """Items drawn at random, in proportion to `weights` float64 [n_items]."""

    weights: np.ndarray
    seed: int

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        return drawn(users, train, amounts, self.weights, self.seed)


@dataclass(frozen=True)
class Best:
    """The best items of a recommender. ItemCF's use nothing but the log."""

    model: Recommender

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        return best_of(self.model, train, amounts)


@dataclass(frozen=True)
class Sampled:
    """Items sampled from a recommender's list, as `id_list` samples from an LLM: with temperature and top-p.

    The probability of an item is its share of the sum of all scores.
    """

    model: Recommender
    temperature: float
    top_p: float
    seed: int

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        found, step = [], max(1, SCORES_AT_ONCE // max(self.model.n_items, 1))
        for start in range(0, len(users), step):
            rows = np.arange(start, min(start + step, len(users)))
            known = train.take(rows)
            scores = self.model.score(known, None)
            scores[known.rows, known.items] = -np.inf
            for user, counts, row in zip(users[rows].tolist(), amounts.added[rows], scores, strict=True):
                found.append(self._sampled(row, counts.copy(), amounts.slices, rng_of(self.seed, user)))
        return Histories.of(found)

    def _sampled(
        self, scores: np.ndarray, left: np.ndarray, slices: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw different items, one after the other, until none is left of any slice; `left` int [slices] is used up.

        Each is drawn from the smallest set of the possible items that has the share `top_p` of their probability.
        """
        possible = np.flatnonzero((scores > 0) & (left > 0)[slices])
        items = possible[np.argsort(-scores[possible], kind="stable")]
        shares = (scores[items].astype(np.float64) / scores[items[:1]]) ** (1 / self.temperature)
        taken = []
        while len(items):
            ends = np.cumsum(shares)
            # The last item that may be drawn.
            last = min(int(np.searchsorted(ends, self.top_p * ends[-1])), len(ends) - 1)
            chosen = min(int(np.searchsorted(ends, rng.random() * ends[last], side="right")), last)
            taken.append(items[chosen])
            left[slices[items[chosen]]] -= 1
            kept = (left > 0)[slices[items]]
            kept[chosen] = False
            items, shares = items[kept], shares[kept]
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

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        candidates = Histories.of(
            unseen(rng_of(self.seed, user), self.pool, train.items[start:end], self.shown)
            for user, start, end in zip(users.tolist(), train.indptr, train.indptr[1:], strict=False)
        )
        rows, items = candidates.rows, candidates.items
        order = np.lexsort((-self.model.affinities(train, rows, items), rows))
        rows, items = rows[order], items[order]
        return _gathered(rows, items, amounts.most(rows, items), len(users))


@dataclass(frozen=True)
class RandomUsers:
    """For each item as many users as an LLM or its text found, drawn at random. by_user: the items of each user, by code."""

    by_user: Histories

    @classmethod
    def drawn(cls, added: Histories, possible: np.ndarray, seed: int) -> "RandomUsers":
        """added: the items that were added to each user, which nobody knows. possible bool [users]: those who have a
        history. The users of an item depend only on the seed, the item and its number of users.
        """
        pool = np.flatnonzero(possible)
        items, counts = np.unique(added.items, return_counts=True)
        draws = [
            pool[rng_of(seed, item).choice(len(pool), min(count, len(pool)), replace=False)]
            for item, count in zip(items.tolist(), counts.tolist(), strict=True)
        ]
        users = np.concatenate([np.zeros(0, np.int64), *draws])
        own = np.repeat(items, [len(draw) for draw in draws])
        return cls(_gathered(users, own, np.ones(len(own), bool), len(added)))

    def items(self, users: np.ndarray, train: Histories, amounts: Amounts) -> Histories:
        return self.by_user.take(users)


def drawn(users: np.ndarray, known: Histories, amounts: Amounts, weights: np.ndarray, seed: int) -> Histories:
    """Draw as many items of each slice as were `added`, without replacement, in proportion to `weights` [n_items].

    known: the items of each user that must not be drawn. The items of a user depend only on
    seed and user. If there are too few possible items in a slice, all of them are taken. An item that must not be drawn
    is drawn again; this gives the same distribution as drawing only from the possible items.
    """
    pools = [
        np.flatnonzero((weights > 0) & (amounts.slices == code)) for code in range(amounts.added.shape[1])
    ]
    ends = [np.cumsum(weights[pool], dtype=np.float64) for pool in pools]
    found = []
    for row, (user, counts) in enumerate(zip(users.tolist(), amounts.added.tolist(), strict=True)):
        taken, rng = set(known.items[known.indptr[row] : known.indptr[row + 1]].tolist()), rng_of(seed, user)
        own: list[int] = []
        for pool, end, count in zip(pools, ends, counts, strict=True):
            if not count:
                continue
            if 2 * (count + len(taken)) >= len(pool):
                # Nearly all items are taken: most draws would have to be repeated.
                rest = np.setdiff1d(pool, list(taken))
                share = weights[rest] / weights[rest].sum() if len(rest) else None
                own += rng.choice(rest, min(count, len(rest)), replace=False, p=share).tolist()
                continue
            wanted = len(own) + count
            while len(own) < wanted:
                item = int(pool[np.searchsorted(end, rng.random() * end[-1], side="right")])
                if item not in taken:
                    taken.add(item)
                    own.append(item)
        found.append(np.array(own, np.int32))
    return Histories.of(found)


def best_of(model: Recommender, histories: Histories, amounts: Amounts) -> Histories:
    """A recommender's best items for each user: as many of each slice as were `added`, if it has so many.

    Its list is read deeper and deeper, until every slice has enough items or the list ends. Few users need a long one.
    """
    wanted = amounts.added.sum(axis=1)
    left = np.flatnonzero(wanted)
    depth = int(wanted.max(initial=0))
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int32))]
    while len(left):
        depth, step = min(depth, model.n_items), max(1, SCORES_AT_ONCE // max(depth, 1))
        short = []
        for start in range(0, len(left), step):
            users = left[start : start + step]
            rows, items, ended = _listed(model, histories.take(users), depth)
            kept = first(rows, items, amounts.added[users], amounts.slices)
            enough = ended | (np.bincount(rows[kept], minlength=len(users)) == wanted[users])
            kept &= enough[rows]
            found.append((users[rows[kept]], items[kept]))
            short.append(users[~enough])
        left, depth = np.concatenate(short), DEEPER * depth
    rows, items = map(np.concatenate, zip(*found, strict=True))
    return _gathered(rows, items, np.ones(len(rows), bool), len(histories))


def _listed(
    model: Recommender, histories: Histories, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first `depth` items of each list: rows int64 [n], items int32 [n], both in the order of the lists; and whether a
    list has no further items, bool [rows].
    """
    starts = histories.indptr
    lists = [histories.items[start:end] for start, end in zip(starts, starts[1:], strict=False)]
    items, _ = model.recommend_history(lists, depth)
    free = items >= 0
    ended = (items[:, -1] < 0) | (depth >= model.n_items)
    return np.nonzero(free)[0], items[free].astype(np.int32), ended


def _gathered(rows: np.ndarray, items: np.ndarray, kept: np.ndarray, n_rows: int) -> Histories:
    """The kept entries by row, each row in the order of its entries."""
    rows, items = rows[kept], items[kept]
    order = np.argsort(rows, kind="stable")
    return Histories(offsets_of(np.bincount(rows, minlength=n_rows)), items[order].astype(np.int32))
