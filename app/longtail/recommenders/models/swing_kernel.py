"""The compiled kernel of Swing: it sums over all pairs of users, one user after the other.

There are two ways. If a user shares items with most others, the shared items of each other user become a dense row, and
the rows are added, which is fast on a processor. If most others share one item or none, the few users who share more
(the partners) are found first. The order of users and items is described in swing_log.py.
"""

from typing import NamedTuple

import numba
import numpy as np

from longtail.recommenders.models.swing_log import Log

LANES = 16
"""Rows of tables are padded to a multiple of this number of float32: the widest register of today's processors."""

TILE = 40_960
"""Cells of a tile (users x items of one user): 160 KiB, which stay in the L2 cache."""

EPOCHS = 127
"""The array of 8-bit marks is cleared after this number of users."""

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


class Scratch(NamedTuple):
    """Memory that one thread uses again for each user u."""

    following: np.ndarray  # per item of u: the next of its users to visit
    table: np.ndarray  # [items of u inside, items of u], rows padded: sums over v of shared item pairs
    tile: np.ndarray  # [users + 1, items of u], rows padded: weights of the items shared with each
    totals: np.ndarray  # per user of a tile or partner: sum_k r_uk r_vk, then its factor
    heads: np.ndarray  # where each item of u begins in `shared_by`
    marks: np.ndarray  # per user: whether met at no, one, or more items of u
    slots: np.ndarray  # per user: index among the partners
    partners: np.ndarray  # users who share two or more items with u
    shared_by: np.ndarray  # item by item: the users who share it
    met_at: np.ndarray  # per entry of `shared_by`: the place of the item in u's list
    met_weights: np.ndarray  # per entry of `shared_by`: the weight of the item for that user
    positions: np.ndarray  # `met_at`, partner by partner
    weights: np.ndarray  # `met_weights`, partner by partner
    ends: np.ndarray  # where the group of each partner ends


@compiled
def fill_tables(
    log: Log, alpha: float, first: int, last: int, starts: np.ndarray, tables: np.ndarray
) -> None:
    """For each user u of first..last - 1, fill the table of the items that later users share with u:

        tables[starts[u] + a n + b] = r_ua r_ub sum_{v > u} w_u w_v r_va r_vb / (alpha + sum_k r_uk r_vk)

    for the n items a and b of u, with a below `log.inside`, and 0 for a = b. `starts` int64 [users + 1]; `tables`
    float32, which need not be cleared before.
    """
    scratch = _scratch(log, first, last, starts)
    epoch = 0
    for u in range(first, last):
        n = log.user_starts[u + 1] - log.user_starts[u]
        inside = 0 if n == 0 else (starts[u + 1] - starts[u]) // n
        if inside == 0:
            continue
        width = _padded(n)
        scratch.table[: inside * width] = 0
        if _visits(log, u) >= len(log.user_starts) - 2 - u:
            _add_tiles(log, alpha, u, inside, width, scratch)
        else:
            epoch = epoch % EPOCHS + 1
            if epoch == 1:
                scratch.marks[:] = 0
            _add_partners(log, alpha, u, inside, width, np.uint8(2 * epoch), scratch)
        _write_out(log, u, inside, width, scratch.table, tables[starts[u] : starts[u + 1]])


@compiled
def _padded(n: int) -> int:
    return (n + LANES - 1) // LANES * LANES


@compiled
def _visits(log: Log, u: int) -> int:
    """How many times a later user has one of u's items, summed over the items of u."""
    visits = 0
    for p in range(log.user_starts[u], log.user_starts[u + 1]):
        visits += log.item_starts[log.items[p] + 1] - log.places[p] - 1
    return visits


@compiled
def _scratch(log: Log, first: int, last: int, starts: np.ndarray) -> Scratch:
    n_users = len(log.user_starts) - 1
    longest, most, table = 1, 1, 1
    for u in range(first, last):
        n = log.user_starts[u + 1] - log.user_starts[u]
        longest, most = max(longest, n), max(most, _visits(log, u))
        if n > 0:
            table = max(table, (starts[u + 1] - starts[u]) // n * _padded(n))
    width = _padded(longest)
    return Scratch(
        following=np.empty(longest, np.int64),
        table=np.empty(table, np.float32),
        tile=np.empty(max(TILE, LANES * width) + width, np.float32),
        totals=np.empty(max(most, TILE // LANES) + 1, np.float32),
        heads=np.empty(longest + 1, np.int64),
        marks=np.zeros(n_users, np.uint8),
        slots=np.empty(n_users, np.int32),
        partners=np.empty(most + 1, np.int32),
        shared_by=np.empty(most + 4 * longest, np.int32),
        met_at=np.empty(most + 1, np.int32),
        met_weights=np.empty(most + 1, np.float32),
        positions=np.empty(most, np.int32),
        weights=np.empty(most, np.float32),
        ends=np.empty(most + 1, np.int64),
    )


@compiled
def _add_tiles(log: Log, alpha: float, u: int, inside: int, width: int, scratch: Scratch) -> None:
    """For a user u who shares much with later users: add all of them as dense rows, one tile at a time."""
    n_users = len(log.user_starts) - 1
    begin = log.user_starts[u]
    n = log.user_starts[u + 1] - begin
    for a in range(n):
        scratch.following[a] = log.places[begin + a] + 1
    size = max(LANES, TILE // width)
    for start in range(u + 1, n_users, size):
        stop = min(start + size, n_users)
        _fill_tile(log, u, start, stop, width, scratch)
        factors = scratch.totals
        for s in range(stop - start):
            factors[s] = log.user_weights[u] * log.user_weights[start + s] / (alpha + factors[s])
        factors[stop - start] = 0
        for a in range(min(inside, n - 1)):  # the last item has no column after it
            _add_rows(a, width, scratch)


@compiled
def _fill_tile(log: Log, u: int, start: int, stop: int, width: int, scratch: Scratch) -> None:
    """Fill the tile with the items that the users start..stop - 1 share with u.

    `shared_by` gets the users of each item, item by item. Each group is padded to a multiple of 4 with an empty row.
    """
    size = stop - start
    tile, shared_by, totals = scratch.tile, scratch.shared_by, scratch.totals
    tile[: (size + 1) * width] = 0
    totals[:size] = 0
    begin, end = log.user_starts[u], 0
    for a in range(log.user_starts[u + 1] - begin):
        scratch.heads[a] = end
        rating, last = log.ratings[begin + a], log.item_starts[log.items[begin + a] + 1]
        q = scratch.following[a]
        takers, weights, met = log.takers[q:last], log.taker_ratings[q:last], 0
        while met < len(takers) and takers[met] < stop:
            s = takers[met] - start
            tile[s * width + a] = weights[met]
            totals[s] += rating * weights[met]
            shared_by[end + met] = s
            met += 1
        scratch.following[a] = q + met
        end += met
        while (end - scratch.heads[a]) % 4:
            shared_by[end] = size
            end += 1
    scratch.heads[log.user_starts[u + 1] - begin] = end


@compiled
def _add_rows(a: int, width: int, scratch: Scratch) -> None:
    """Add factor_v r_va r_v to row a of the table, for all users v of the tile who have item a.

    Four users are added at once, which saves loads and stores.
    """
    tile, shared_by, factors = scratch.tile, scratch.shared_by, scratch.totals
    start = a // LANES * LANES  # columns before a are not needed
    row = scratch.table[a * width + start : (a + 1) * width]
    for k in range(scratch.heads[a], scratch.heads[a + 1], 4):
        s, t, x, y = shared_by[k], shared_by[k + 1], shared_by[k + 2], shared_by[k + 3]
        one = tile[s * width + start : (s + 1) * width]
        two = tile[t * width + start : (t + 1) * width]
        three = tile[x * width + start : (x + 1) * width]
        four = tile[y * width + start : (y + 1) * width]
        share_one, share_two = factors[s] * one[a - start], factors[t] * two[a - start]
        share_three, share_four = factors[x] * three[a - start], factors[y] * four[a - start]
        for b in range(len(row)):
            row[b] += share_one * one[b] + share_two * two[b] + share_three * three[b] + share_four * four[b]


@compiled
def _add_partners(
    log: Log, alpha: float, u: int, inside: int, width: int, once: np.uint8, scratch: Scratch
) -> None:
    """For a user u with whom most users share one item or none: add those who share two or more, one after the other."""
    found = _find_partners(log, u, once, scratch)
    if found == 0:
        return
    _group_by_partner(log, u, once, found, scratch)
    begin = 0
    for s in range(found):
        end = scratch.ends[s]
        v = scratch.partners[s]
        factor = log.user_weights[u] * log.user_weights[v] / (alpha + scratch.totals[s])
        for k in range(begin, end - 1):
            a = np.int64(scratch.positions[k])
            if a >= inside:
                break
            share = factor * scratch.weights[k]
            for other in range(k + 1, end):
                scratch.table[a * width + scratch.positions[other]] += share * scratch.weights[other]
        begin = end


@compiled
def _find_partners(log: Log, u: int, once: np.uint8, scratch: Scratch) -> int:
    """Find the partners of u and return their number. Users met at two or more items get the mark `once` + 1 and a slot.

    Marks below `once` were set for earlier users u.
    """
    marks, partners = scratch.marks, scratch.partners
    found = 0
    for p in range(log.user_starts[u], log.user_starts[u + 1]):
        for v in log.takers[log.places[p] + 1 : log.item_starts[log.items[p] + 1]]:
            mark = marks[v]
            marks[v] = once + (mark >= once)
            partners[found] = v
            found += mark == once
    for s in range(found):
        scratch.slots[partners[s]] = s
    return found


@compiled
def _group_by_partner(log: Log, u: int, once: np.uint8, found: int, scratch: Scratch) -> None:
    """Fill `positions` and `weights` of the shared items, partner by partner, and `totals`."""
    ends, totals, slots = scratch.ends, scratch.totals, scratch.slots
    shared = _shared_with_partners(log, u, once, scratch)
    ends[: found + 1] = 0
    totals[:found] = 0
    ratings = log.ratings[log.user_starts[u] : log.user_starts[u + 1]]
    for k in range(shared):
        s = slots[scratch.shared_by[k]]
        ends[s + 1] += 1
        totals[s] += ratings[scratch.met_at[k]] * scratch.met_weights[k]
    for s in range(found):
        ends[s + 1] += ends[s]
    for k in range(shared):
        s = slots[scratch.shared_by[k]]
        scratch.positions[ends[s]] = scratch.met_at[k]
        scratch.weights[ends[s]] = scratch.met_weights[k]
        ends[s] += 1


@compiled
def _shared_with_partners(log: Log, u: int, once: np.uint8, scratch: Scratch) -> int:
    """Fill `shared_by`, `met_at` and `met_weights` item by item, for the partners only, and return their length.

    There is no branch, because the processor cannot predict whether the next user is a partner.
    """
    marks, shared_by = scratch.marks, scratch.shared_by
    met_at, met_weights = scratch.met_at, scratch.met_weights
    begin, shared = log.user_starts[u], 0
    for p in range(begin, log.user_starts[u + 1]):
        first, last = log.places[p] + 1, log.item_starts[log.items[p] + 1]
        takers, weights = log.takers[first:last], log.taker_ratings[first:last]
        for k in range(len(takers)):
            shared_by[shared] = takers[k]
            met_at[shared] = p - begin
            met_weights[shared] = weights[k]
            shared += marks[takers[k]] > once
    return shared


@compiled
def _write_out(log: Log, u: int, inside: int, width: int, table: np.ndarray, to: np.ndarray) -> None:
    """Write the triangle as full rows over all items of u, times u's weights. One pass, because `to` is new memory."""
    ratings = log.ratings[log.user_starts[u] : log.user_starts[u + 1]]
    n = len(ratings)
    for a in range(inside):
        row, triangle = to[a * n : (a + 1) * n], table[a * width : a * width + n]
        for b in range(a):
            row[b] = ratings[a] * ratings[b] * table[b * width + a]
        row[a] = 0
        for b in range(a + 1, n):
            row[b] = ratings[a] * ratings[b] * triangle[b]
