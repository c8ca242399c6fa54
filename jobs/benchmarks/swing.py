"""Swing: speed compared with plain Python and with `implicit`'s cosine neighbours, and how its cost grows with the
data."""

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

from jobs.benchmarks.timing import paired, seconds
from longtail.arrays import rows_of
from longtail.data.simulated_items import make_store
from longtail.data.simulation import user_tastes
from longtail.recipe import Simulation
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.nearest import own_threads
from longtail.recommenders.models.swing import capped, swing
from longtail.recommenders.models.swing_log import Formula

NEIGHBOURS = 100
SIZES, QUICK_SIZES = (10**5, 10**6, 10**7), (10**5, 10**6)
MEAN_HISTORY = 12
ITEMS = 2_000
MAX_USERS = 2_000
"""Users per item at every size. Without this cap, the popular items of the largest log would have 10^11 pairs of
users."""
USERS_AT_ONCE = 50_000


def measure(data: Path | None = None, quick: bool = False) -> dict[str, float]:
    """Ratios of speed, and the growth of cost. A visit is a pair of users at an item; see `pair_visits`.

    On the ratings of 4 and 5 of ml-1m in `data`, or on a simulated log of its size: `swing_over_python`, how many times
    faster than plain Python with dictionaries, which is timed on some users and scaled by the number of visits; and
    `swing_time_over_implicit_cosine`, the seconds over those of implicit's CosineRecommender, with 100 neighbours each,
    both on all cores.

    On simulated logs of 10^5 to 10^7 interactions (to 10^6 with `quick`), with at most MAX_USERS users per item:
    `swing_visit_cost_growth`, the highest seconds per visit at a larger size over those at the smallest size.
    """
    ratings = simulated(6_038, 3_533, 95) if data is None else _movielens(data)
    _check(ratings[:: ratings.shape[0] // 40])
    theirs = CosineRecommender(K=NEIGHBOURS, num_threads=own_threads())
    ours, cosine = paired(
        lambda: swing(ratings, Formula(), NEIGHBOURS),
        lambda: theirs.fit(ratings, show_progress=False),
        rounds=3 if quick else 5,
    )
    sample = np.random.default_rng(0).permutation(ratings.shape[0])[: 20 if quick else 100]
    began = time.perf_counter()
    _, visits = by_dictionaries(ratings, sample)
    python = (time.perf_counter() - began) / visits * pair_visits(ratings)
    costs = visit_costs(QUICK_SIZES if quick else SIZES)
    return {
        "swing_over_python": python / ours,
        "swing_time_over_implicit_cosine": ours / cosine,
        "swing_visit_cost_growth": max(costs[1:]) / costs[0],
    }


def visit_costs(sizes: tuple[int, ...], rounds: int = 3) -> list[float]:
    """The seconds per visit at each size: the least of `rounds` turns."""
    logs = [_capped(simulated(size // MEAN_HISTORY, ITEMS, MEAN_HISTORY)) for size in sizes]
    turns = [
        [seconds(lambda log=log: swing(log, Formula(), NEIGHBOURS)) / pair_visits(log) for log in logs]
        for _ in range(rounds)
    ]
    return np.min(turns, axis=0).tolist()


def pair_visits(ratings: csr_matrix) -> int:
    """The number of visits: sum over items i of C(|U_i|, 2), with U_i the users of item i."""
    takers = np.bincount(ratings.indices).astype(np.int64)
    return int((takers * (takers - 1)).sum()) // 2


def by_dictionaries(ratings: csr_matrix, users: np.ndarray) -> tuple[dict[tuple[int, int], float], int]:
    """Swing in plain Python, with interactions of weight 1, over the pairs of each of `users` with the users after it.

    Returns the similarities by (lower item, higher item), and the number of visits.
    """
    by_user = [row.tolist() for row in np.split(ratings.indices, ratings.indptr[1:-1])]
    by_item: dict[int, list[int]] = defaultdict(list)
    for user, items in enumerate(by_user):
        for item in items:
            by_item[item].append(user)
    sums: dict[tuple[int, int], float] = defaultdict(float)
    visits = 0
    for u in users.tolist():
        shared: dict[int, list[int]] = defaultdict(list)
        for item in sorted(by_user[u]):
            for v in by_item[item]:
                if v > u:
                    shared[v].append(item)
        for v, items in shared.items():
            visits += len(items)
            share = (len(by_user[u]) * len(by_user[v])) ** -0.5 / (1 + len(items))
            for place, item in enumerate(items):
                for other in items[place + 1 :]:
                    sums[item, other] += share
    return sums, visits


def simulated(users: int, items: int, mean_history: float, seed: int = 0) -> csr_matrix:
    """A log as `longtail.data.simulation` makes it, without time: no late items, and no item that follows another."""
    simulation = Simulation(users=users, items=items, mean_history=mean_history)
    store, rng = make_store(simulation, seed), np.random.default_rng(seed)
    cells = []
    for first in range(0, users, USERS_AT_ONCE):
        block = np.arange(first, min(first + USERS_AT_ONCE, users))
        lengths = 4 + np.round(rng.lognormal(-0.5, 1.0, len(block)) * (mean_history - 4)).astype(np.int64)
        rows = rows_of(np.minimum(lengths, items // 4))
        tastes = np.cumsum(user_tastes(simulation, seed, block), axis=1)
        uniform = rng.random(len(rows)) * tastes[rows, -1]
        taste = (uniform[:, None] >= tastes[rows]).sum(axis=1)
        taken = store.by_popularity.draw(taste, rng.random(len(rows)))
        _, once = np.unique(rows * items + taken, return_index=True)
        again = np.setdiff1d(np.arange(len(rows)), once)
        taken[again] = store.by_taste.draw(taste[again], rng.random(len(again)))
        cells.append(np.unique((rows + first) * items + taken))
    cells = np.concatenate(cells)
    ones = np.ones(len(cells), np.float32)
    return csr_matrix((ones, (cells // items, cells % items)), shape=(users, items))


def _capped(ratings: csr_matrix) -> csr_matrix:
    train = Interactions(
        ratings.indptr, ratings.indices, ratings.data, np.diff(ratings.indptr), ratings.shape[1]
    )
    return capped(train, MAX_USERS, None, seed=0)[0]


def _movielens(data: Path) -> csr_matrix:
    table = pq.read_table(data / "ml-1m" / "interactions.parquet", columns=["user_id", "item_id", "rating"])
    liked = table.filter(table["rating"].to_numpy() >= 4)
    users, items = (np.unique(liked[c].to_numpy(), return_inverse=True)[1] for c in ("user_id", "item_id"))
    return csr_matrix((np.ones(len(users), np.float32), (users, items)))


def _check(ratings: csr_matrix) -> None:
    """Raise RuntimeError if Swing and plain Python give different results on a small log."""
    found = swing(ratings, Formula(), ratings.shape[1])
    expected, _ = by_dictionaries(ratings, np.arange(ratings.shape[0]))
    pairs = np.array(list(expected), np.int64).reshape(-1, 2)
    values = np.asarray(found[pairs[:, 0], pairs[:, 1]]).ravel()
    if found.nnz != 2 * len(expected) or not np.allclose(values, list(expected.values()), rtol=1e-5):
        raise RuntimeError("Swing and plain Python give different similarities")
