"""Ranking metrics per user, from the ranks of that user's targets."""

from collections.abc import Sequence

import numpy as np

METRICS = ("recall", "hit", "ndcg", "mrr")


def per_user(users: np.ndarray, ranks: np.ndarray, ks: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Every metric of `METRICS` at every k, for each user that has a target.

    users int [rows], ranks int [rows]: one row per target; the rank is 1-based, 0 means not in the list.
    Returns the users [n], ascending, and values float64 [n, len(METRICS), len(ks)], all in [0, 1].

    With T targets, of which those at ranks r <= k are found (Järvelin and Kekäläinen 2002 for the discount):

    - recall@k = found / T
    - hit@k    = 1 if found > 0
    - ndcg@k   = sum over found of 1 / log2(r + 1), over the same sum for ranks 1 .. min(T, k)
    - mrr@k    = 1 / (smallest r) if found > 0

    Users are independent of each other: the values of disjoint sets of users, put together, are those of all.
    """
    order = np.argsort(users, kind="stable")
    codes, starts, targets = np.unique(users[order], return_index=True, return_counts=True)
    k = np.asarray(ks)
    values = np.zeros((len(codes), len(METRICS), len(k)))
    if not len(codes):
        return codes, values
    rank = np.where(ranks > 0, ranks, np.inf)[order]
    found = rank[:, None] <= k
    gains = np.where(found, 1 / np.log2(rank + 1)[:, None], 0)
    ideal = np.cumsum(1 / np.log2(np.arange(2, k.max() + 2)))
    first = np.minimum.reduceat(rank, starts)
    hits = np.add.reduceat(found, starts, dtype=np.int64)
    values[:, 0] = hits / targets[:, None]
    values[:, 1] = hits > 0
    values[:, 2] = np.add.reduceat(gains, starts) / ideal[np.minimum(targets[:, None], k) - 1]
    values[:, 3] = np.where(hits > 0, 1 / first[:, None], 0)
    return codes, values
