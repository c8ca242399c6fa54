"""Sampled ranking, the protocol of older tables: a target is ranked among a few random items, not the whole catalogue.

Its figures can be compared only with figures of the same protocol, never with full ranking, and they can order
recommenders wrongly (Krichene and Rendle, "On Sampled Metrics for Item Recommendation", KDD 2020).
"""

import numpy as np

from longtail.arrays import offsets_of, places_of
from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender

TARGETS_AT_ONCE = 2048
"""Targets whose candidates are scored together: 50 MiB of item vectors at 100 negatives and 64 dimensions."""


def sampled_ranks(
    model: Recommender, users: np.ndarray, targets: np.ndarray, negatives: int, seed: int
) -> np.ndarray:
    """The 1-based place of each target among `negatives` items drawn for it: int32 [n].

    users and targets int [n]. An item with the same score as the target stands before it, so a model that gives every
    item one score has no hit. (In the SASRec authors' code, kang205/SASRec, the sort decides between equal scores.)
    """
    ranks = np.empty(len(users), np.int32)
    for start in range(0, len(users), TARGETS_AT_ONCE):
        block = slice(start, start + TARGETS_AT_ONCE)
        asked = model.seen.take(users[block])
        drawn = draw_negatives(asked, users[block], targets[block], model.n_items, negatives, seed)
        scores = model.score_pairs(asked, users[block], np.column_stack([targets[block], drawn]))
        ranks[block] = 1 + (~(scores[:, 1:] < scores[:, :1])).sum(axis=1)
    return ranks


def draw_negatives(
    seen: Histories, users: np.ndarray, targets: np.ndarray, n_items: int, negatives: int, seed: int
) -> np.ndarray:
    """Draw the negatives of each target: int64 [n, negatives].

    Row r is drawn uniformly, with replacement, from the items that are neither in row r of `seen` nor targets[r]. The
    draw depends only on seed, user and target, so every recommender gets the same negatives. If no item is left to
    draw, the row holds the target itself. The j-th item outside a sorted set e_0 < e_1 < ... is j + the number of e_i
    <= j + i.
    """
    n = len(users)
    pairs = np.concatenate([seen.rows * n_items + seen.items, np.arange(n) * n_items + targets])
    rows, excluded = np.divmod(np.unique(pairs), n_items)
    many = np.bincount(rows, minlength=n)
    starts = offsets_of(many)[:-1]
    free = n_items - many
    number = (_uniform(seed, users, targets, negatives) * free[:, None]).astype(np.int64)
    below = excluded - places_of(many)
    row_keys = np.arange(n)[:, None] * (n_items + 1)
    passed = np.searchsorted(rows * (n_items + 1) + below, row_keys + number, side="right") - starts[:, None]
    return np.where(free[:, None] > 0, number + passed, targets[:, None])


def _uniform(seed: int, users: np.ndarray, targets: np.ndarray, draws: int) -> np.ndarray:
    """Numbers float64 [n, draws] in [0, 1): a hash of seed, user, target and draw number (splitmix64, Steele et al.
    2014).
    """
    state = _mix(np.full(len(users), seed, np.uint64))
    for key in (users, targets):
        state = _mix(state ^ key.astype(np.uint64))
    steps = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(state[:, None] + steps) >> np.uint64(11)) * 2.0**-53


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
