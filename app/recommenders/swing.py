"""Swing (Yang, Zhu, Zhang, arXiv 2010.05525): items are alike where two users share both and little else."""

from collections.abc import Iterator

import numba
import numpy as np
from scipy.sparse import csr_matrix, vstack

from app.recommenders.base import Interactions, Preferences, Targets
from app.recommenders.neighbours import Neighbours, neighbour_matrix
from app.recommenders.topk import top_k

BLOCK_BYTES = 2**29
"""Memory of a block: the similarities of its items to all items are held dense while they are summed."""

RAY_TASKS_FROM = 10**9
"""Steps (see `swing`) from which blocks are handed to Ray tasks; one core does so many in half a minute."""


class Swing(Neighbours):
    name = "swing"

    def _fit(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        section = self.section
        self.similarity = swing(train.matrix, section.alpha, section.user_weight, section.neighbours)


def swing(ratings: csr_matrix, alpha: float, user_weight: float, neighbours: int) -> csr_matrix:
    """Exact Swing similarities, papers 5.1: float32 CSR [items, items], the largest `neighbours` of each row.

        s(i, j) = sum over unordered pairs of users u, v who took both
                  w_u w_v r_ui r_uj r_vi r_vj / (alpha + sum_k r_uk r_vk),   w_u = (sum_k r_uk)^-user_weight

    `ratings` [users, items] holds the interaction weights r in (0, 1]; an interaction counts as if it were
    kept with probability r, in each place of the formula by itself. With all r = 1 this is the paper's
    formula. Each unordered pair of users counts once; a pair of items with fewer than two common users scores
    0.

    Cost: sum_i C(|U_i|, 2) steps to find what all pairs of users have in common, once per block of items, and
    sum_{u<v} |I_u ∩ I_v|^2 / 2 additions. Memory: BLOCK_BYTES per block. One item that everybody took makes
    this quadratic in the number of users. Blocks run as Ray tasks where Ray is joined and there is enough to
    do.
    """
    ratings = ratings.tocsr().astype(np.float32)
    ratings.eliminate_zeros()
    ratings.sort_indices()
    n_items = ratings.shape[1]
    takers = np.bincount(ratings.indices, minlength=n_items).astype(np.int64)
    steps = int((takers * (takers - 1)).sum()) // 2
    blocks = max(1, -(-4 * n_items**2 // BLOCK_BYTES))
    spread = steps >= RAY_TASKS_FROM and _ray_cpus() > 1
    if spread:
        blocks = max(blocks, _ray_cpus())
    # Strided, so that each block has its share of the popular items.
    parts = (np.arange(block, n_items, blocks) for block in range(blocks))
    settings = (ratings, alpha, user_weight, neighbours)
    done = _in_tasks(parts, settings) if spread else [swing_block(part, *settings) for part in parts]
    stacked = vstack(done, format="csr")
    order = np.concatenate([np.arange(block, n_items, blocks) for block in range(blocks)])
    return stacked[np.argsort(order)]


def swing_block(
    part: np.ndarray, ratings: csr_matrix, alpha: float, user_weight: float, neighbours: int
) -> csr_matrix:
    """The rows `part` (item codes, ascending) of the similarities."""
    by_item = ratings.tocsc()
    by_item.sort_indices()
    totals = np.asarray(ratings.sum(axis=1)).ravel()
    user_weights = np.where(totals > 0, np.maximum(totals, 1e-30) ** -user_weight, 0).astype(np.float32)
    row_of = np.full(ratings.shape[1], -1, np.int64)
    row_of[part] = np.arange(len(part))
    sums = np.zeros((len(part), ratings.shape[1]), np.float32)
    _accumulate(
        ratings.indptr.astype(np.int64),
        ratings.indices,
        ratings.data,
        by_item.indptr.astype(np.int64),
        by_item.indices,
        by_item.data,
        user_weights,
        np.float32(alpha),
        row_of,
        sums,
    )
    sums[sums <= 0] = -np.inf
    return neighbour_matrix(*top_k(sums, neighbours), ratings.shape[1])


@numba.njit(nogil=True, cache=True)
def _accumulate(
    user_starts: np.ndarray,
    items: np.ndarray,
    ratings: np.ndarray,
    item_starts: np.ndarray,
    takers: np.ndarray,
    taker_ratings: np.ndarray,
    user_weights: np.ndarray,
    alpha: np.float32,
    row_of: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add the contribution of every pair of users u < v to `sums` [part, items]; `row_of` is -1 outside the
    part.

    The common items of u and all v are gathered through the inverted index in two passes (count, then fill),
    written as positions in u's own list; sums over v go to a small table of u's items, which stays in the
    processor's cache.
    """
    n_users = len(user_starts) - 1
    longest, most_common, largest_table = 0, 0, 0
    for u in range(n_users):
        own, common, inside = user_starts[u + 1] - user_starts[u], 0, 0
        for p in range(user_starts[u], user_starts[u + 1]):
            common += item_starts[items[p] + 1] - item_starts[items[p]]
            inside += row_of[items[p]] >= 0
        longest, most_common = max(longest, own), max(most_common, common)
        largest_table = max(largest_table, own * inside)
    mine = np.empty(longest, np.int64)  # u's items, those of the part first
    mine_ratings = np.empty(longest, np.float32)
    positions = np.empty(most_common, np.uint32)
    products = np.empty(most_common, np.float32)
    table = np.empty(largest_table, np.float32)
    counts = np.zeros(n_users, np.int64)
    ends = np.zeros(n_users, np.int64)
    touched = np.empty(n_users, np.int64)
    later = item_starts[:-1].copy()  # of each item, the first taker after u

    for u in range(n_users):
        n = 0
        for wanted in (True, False):
            if not wanted:
                inside = n
            for p in range(user_starts[u], user_starts[u + 1]):
                if (row_of[items[p]] >= 0) == wanted:
                    mine[n], mine_ratings[n] = items[p], ratings[p]
                    n += 1
        for a in range(n):
            later[mine[a]] += 1
        if inside == 0:
            continue

        n_touched = 0
        for a in range(n):
            for q in range(later[mine[a]], item_starts[mine[a] + 1]):
                v = takers[q]
                if counts[v] > 0:
                    counts[v] += 1
                elif a < inside:
                    counts[v] = 1
                    touched[n_touched] = v
                    n_touched += 1
        end = 0
        for t in range(n_touched):
            ends[touched[t]] = end
            end += counts[touched[t]]
        for a in range(n):
            for q in range(later[mine[a]], item_starts[mine[a] + 1]):
                v = takers[q]
                if counts[v] > 0:
                    positions[ends[v]] = a
                    products[ends[v]] = mine_ratings[a] * taker_ratings[q]
                    ends[v] += 1

        table[: inside * n] = 0
        for t in range(n_touched):
            v = touched[t]
            begin, end = ends[v] - counts[v], ends[v]
            counts[v] = 0
            total = np.float32(0)
            for p in range(begin, end):
                total += products[p]
            factor = user_weights[u] * user_weights[v] / (alpha + total)
            for p in range(begin, end - 1):
                a = np.int64(positions[p])
                if a >= inside:
                    break
                row = table[a * n : (a + 1) * n]
                share = factor * products[p]
                for q in range(p + 1, end):
                    row[positions[q]] += share * products[q]

        for a in range(inside):
            to = sums[row_of[mine[a]]]
            for b in range(a + 1, n):
                value = table[a * n + b]
                to[mine[b]] += value
                if b < inside:
                    sums[row_of[mine[b]], mine[a]] += value


def _ray_cpus() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 1)) if ray.is_initialized() else 1


def _in_tasks(parts: Iterator[np.ndarray], settings: tuple) -> list[csr_matrix]:
    import ray

    task = ray.remote(num_cpus=1)(swing_block)
    shared = [ray.put(value) for value in settings]
    return ray.get([task.remote(part, *shared) for part in parts])
