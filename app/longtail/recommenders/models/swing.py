"""Swing (Yang, Zhu, Zhang, arXiv 2010.05525): two items are similar if pairs of users share both and little else."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix, vstack

from longtail.arrays import offsets_of, rows_of
from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.nearest import own_threads
from longtail.recommenders.models.neighbours import (
    NEIGHBOURS,
    RECENCY,
    Neighbours,
    NeighboursSection,
    insert,
    neighbour_matrix,
)
from longtail.recommenders.models.swing_kernel import compiled, fill_tables
from longtail.recommenders.models.swing_log import Formula, Log, ordered

BLOCK_BYTES = 2**30
"""The memory limit of a block of items: the sum over users of (items in the block) x (items of the user), float32."""

RAY_TASKS_FROM = 10**9
"""From this number of steps (see `swing`) on, blocks run as Ray tasks. One core needs ten seconds or more for them."""

CHUNKS = 16
"""The number of pieces of about equal work per thread. With many pieces, all threads end at nearly the same time."""


class SwingSection(NeighboursSection):
    alpha: Annotated[float, Field(ge=0)] = 1.0
    user_weight: Annotated[float, Field(ge=0)] = 0.5
    """w_u = (user_offset + |I_u|)^-user_weight (arXiv 2010.05525: 0.5 is the weighted form, 0 the basic form)."""
    user_offset: Annotated[float, Field(ge=0)] = 0.0
    """Flink ML uses 15, with user_weight 0.3 and alpha 0."""
    max_users: Positive | None = None
    """The most users per item, drawn at random. The cost grows with the square of the users of an item, so set this if
    a large part of all users has interacted with the same item."""
    max_items: Positive | None = None
    """The most interactions per user; the latest are kept."""


class Swing(Neighbours):
    section: SwingSection

    def of_log(self, train: Interactions) -> csr_matrix:
        section = self.section
        ratings, left_out = capped(train, section.max_users, section.max_items, self.seed)
        if left_out:
            self.counts |= left_out
            self.compute.say("swing: " + ", ".join(f"{n:,} {what}" for what, n in left_out.items()))
        formula = Formula(section.alpha, section.user_weight, section.user_offset)
        return swing(ratings, formula, section.neighbours)


def capped(
    train: Interactions, max_users: int | None, max_items: int | None, seed: int
) -> tuple[csr_matrix, dict[str, int]]:
    """The training set as users x items, with at most `max_items` per user and then at most `max_users` per item; and
    the counts of what was left out, by name (empty if neither limit is set).

    The latest interactions of a user are kept; generated ones come last, so they count as the latest. The users of an
    item are sampled with `seed`. An interaction that is left out is used nowhere in the formula.
    """
    left_out: dict[str, int] = {}
    ratings = train.matrix
    if max_items is not None:
        ends = np.repeat(train.indptr[1:], np.diff(train.indptr))
        late = ends - np.arange(len(train.items)) <= max_items
        users = rows_of(np.diff(train.indptr))[late]
        starts = offsets_of(np.bincount(users, minlength=train.n_users))
        latest = Interactions(starts, train.items[late], train.weights[late], np.diff(starts), train.n_items)
        left_out["users over max_items"] = int((np.diff(train.indptr) > max_items).sum())
        left_out["interactions dropped"] = len(late) - int(late.sum())
        ratings = latest.matrix
    if max_users is not None:
        by_item = ratings.tocsc()
        items = rows_of(np.diff(by_item.indptr))
        drawn = np.lexsort((np.random.default_rng(seed).random(by_item.nnz), items))
        over = np.arange(by_item.nnz) - by_item.indptr[items] >= max_users
        by_item.data[drawn[over]] = 0
        left_out["items over max_users"] = int((np.diff(by_item.indptr) > max_users).sum())
        left_out["interactions dropped"] = left_out.get("interactions dropped", 0) + int(over.sum())
        by_item.eliminate_zeros()
        ratings = by_item.tocsr()
    return ratings, left_out


def swing(ratings: csr_matrix, formula: Formula, neighbours: int, threads: int | None = None) -> csr_matrix:
    """Exact Swing similarities (arXiv 2010.05525): float32 CSR [items, items], the largest `neighbours` of each row, best
    first; equal ones are ordered by item.

        s(i, j) = sum over unordered pairs of users u, v who interacted with both i and j
                  w_u w_v r_ui r_uj r_vi r_vj / (alpha + sum_k r_uk r_vk),
        w_u = (user_offset + sum_k r_uk)^-user_weight

    `ratings` [users, items] has the interaction weights r in (0, 1]. In each sum and product of the formula, an
    interaction counts as if it were kept with probability r. If all r are 1, this is the formula of the paper. Each
    unordered pair of users counts once. Items with fewer than two common users have similarity 0.

    Cost: sum_i C(|U_i|, 2) steps to find the common items of all pairs of users, once per block of items; and
    sum_{u<v} |I_u ∩ I_v|^2 / 2 additions, or vector operations if the lists are long. An item that all users share
    makes the cost quadratic in the number of users: see `capped`. Memory: sum_u |I_u|^2 float32, at most BLOCK_BYTES at
    a time. `threads`: the default is all cores, or one if Ray is initialised; then blocks run as Ray tasks if there are
    enough steps.
    """
    ratings = ratings.tocsr().astype(np.float32)
    ratings.eliminate_zeros()
    n_items = ratings.shape[1]
    takers = np.bincount(ratings.indices, minlength=n_items).astype(np.int64)
    cells = (np.diff(ratings.indptr).astype(np.int64) ** 2).sum()
    blocks = max(1, -(-4 * int(cells) // BLOCK_BYTES))
    spread = int((takers * (takers - 1)).sum()) // 2 >= RAY_TASKS_FROM and _ray_cpus() > 1
    if spread:
        blocks = max(blocks, _ray_cpus())
    # Each block takes every n-th item in order of popularity, so that all blocks have equally many popular items.
    by_popularity = np.argsort(takers, kind="stable")
    parts = [np.sort(by_popularity[block::blocks]) for block in range(blocks)]
    if spread:
        done = _in_tasks(parts, (ratings, formula, neighbours))
    else:
        done = [swing_block(part, ratings, formula, neighbours, threads or own_threads()) for part in parts]
    return vstack(done, format="csr")[np.argsort(np.concatenate(parts))]


def swing_block(
    part: np.ndarray, ratings: csr_matrix, formula: Formula, neighbours: int, threads: int = 1
) -> csr_matrix:
    """The rows of the similarities for the items in `part` (item codes, ascending)."""
    log, codes = ordered(part, ratings, formula)
    own = np.diff(log.user_starts)
    inside = _sums(log.items < log.inside, log.user_starts)
    starts = offsets_of(np.where(own > 1, inside * own, 0))
    tables = np.empty(starts[-1], np.float32)
    items = np.full((len(part), min(neighbours, len(codes))), -1, np.int32)
    scores = np.zeros(items.shape, np.float32)
    visits = _sums(log.item_starts[log.items + 1] - log.places, log.user_starts)
    sums = _sums(own[log.takers], log.item_starts)[: len(part)]

    _in_threads(lambda a, b: fill_tables(log, formula.alpha, a, b, starts, tables), visits, threads)
    _in_threads(lambda a, b: _sum_rows(log, starts, tables, codes, a, b, items, scores), sums, threads)
    return neighbour_matrix(items, scores, len(codes))[np.argsort(codes[: len(part)])]


@compiled
def _sum_rows(
    log: Log,
    starts: np.ndarray,
    tables: np.ndarray,
    codes: np.ndarray,
    first: int,
    last: int,
    neighbours: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Sum the tables over users, and keep the best neighbours of the items first..last - 1.

    neighbours int32 and scores float32 [inside, k] must be -1 and 0 at the start. They are filled best first, with the
    item codes in `codes`; equal scores are ordered by code.
    """
    n_items = len(log.item_starts) - 1
    sums = np.zeros(n_items, np.float32)
    touched = np.empty(n_items + 1, np.int32)
    for i in range(first, last):
        many = 0
        for q in range(log.item_starts[i], log.item_starts[i + 1]):
            u = log.takers[q]
            begin = log.user_starts[u]
            n = log.user_starts[u + 1] - begin
            if starts[u] == starts[u + 1]:
                continue
            at = starts[u] + (log.entries[q] - begin) * n
            own, row = log.items[begin : begin + n], tables[at : at + n]
            for b in range(n):
                before = sums[own[b]]
                sums[own[b]] = before + row[b]
                touched[many] = own[b]
                many += (before == 0) & (row[b] > 0)
        for t in range(many):
            j = touched[t]
            insert(codes[j], sums[j], neighbours[i], scores[i])
            sums[j] = 0


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of values[starts[r] : starts[r + 1]] for each r, int64."""
    return np.diff(offsets_of(values)[starts])


def _in_threads(call: Callable[[int, int], None], costs: np.ndarray, threads: int) -> None:
    """Call `call(first, last)` for pieces of about equal cost, the last pieces first."""
    pieces = 1 if threads == 1 else CHUNKS * threads
    done = np.cumsum(costs)
    inner = np.searchsorted(done, done[-1] * np.arange(1, pieces) / pieces) if len(done) else []
    edges = np.unique(np.concatenate([[0], inner, [len(costs)]]).astype(np.int64))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, edges[:-1][::-1], edges[1:][::-1]))


def _ray_cpus() -> int:
    ray = sys.modules.get("ray")
    return int(ray.cluster_resources().get("CPU", 1)) if ray and ray.is_initialized() else 1


def _in_tasks(parts: list[np.ndarray], settings: tuple) -> list[csr_matrix]:
    import ray

    task = ray.remote(num_cpus=1)(swing_block)
    shared = [ray.put(value) for value in settings]
    return ray.get([task.remote(part, *shared) for part in parts])


SPEC = RecommenderSpec(
    title="Swing",
    settings=SwingSection,
    model=Swing,
    space={
        "alpha": [0.0, 1.0, 5.0, 20.0],
        "user_weight": [0.0, 0.5, 1.0],
        "neighbours": NEIGHBOURS,
        "recency": RECENCY,
    },
    item_to_item=True,
)
