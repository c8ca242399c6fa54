"""What every lift is held against: as many interactions per user without an LLM, at random, by popularity, from ItemCF."""

import numpy as np

from app.recommenders.base import Histories
from app.recommenders.ranker import Ranker


def drawn(
    users: np.ndarray, known: Histories, counts: np.ndarray, weights: np.ndarray, seed: int
) -> Histories:
    """For each user `counts` items int [users], drawn without replacement in proportion to `weights` [n_items].

    known: the items of each user that may not be drawn, held-out ones among them. What a user gets depends on seed and user
    alone. Where too few items are possible all of them are taken. Drawing again what was refused is the same
    distribution as drawing from what is left.
    """
    ends = np.cumsum(weights, dtype=np.float64)
    possible = np.flatnonzero(weights > 0)
    found = []
    for row, (user, count) in enumerate(zip(users.tolist(), counts.tolist(), strict=True)):
        taken = set(known.items[known.indptr[row] : known.indptr[row + 1]].tolist())
        if 2 * (count + len(taken)) >= len(possible):  # nearly all: refusing would go on for long
            rest = np.setdiff1d(possible, list(taken))
            rng = np.random.default_rng([seed, user])
            share = weights[rest] / weights[rest].sum() if len(rest) else None
            found.append(rng.choice(rest, min(count, len(rest)), replace=False, p=share))
            continue
        rng, own = np.random.default_rng([seed, user]), []
        while len(own) < count:
            item = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
            if item not in taken:
                taken.add(item)
                own.append(item)
        found.append(np.array(own, np.int32))
    return Histories.of(found)


def best_of(model: Ranker, histories: Histories, held_out: Histories, counts: np.ndarray) -> Histories:
    """A recommender's own best items for each user, `counts` of them as far as there are any, none of them held out.

    Of ItemCF the strongest control: all that the log says by itself.
    """
    depth = int(counts.max(initial=0)) + int(held_out.lengths.max(initial=0))
    rows = [
        histories.items[start:end] for start, end in zip(histories.indptr, histories.indptr[1:], strict=False)
    ]
    items, _ = model.recommend_history(rows, depth)
    cells = np.arange(len(items))[:, None] * np.int64(model.n_items)
    free = (items >= 0) & ~np.isin(items + cells, held_out.rows * np.int64(model.n_items) + held_out.items)
    kept = free & (np.cumsum(free, axis=1) <= counts[:, None])
    return Histories(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]), items[kept].astype(np.int32))
