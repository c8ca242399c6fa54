"""How often users see cold items: their scores are scaled or moved until they take a given share of the first places.

What an item is worth that nobody took yet, no log tells. Its text gives an order among cold items, but no place among warm
ones. So the share of places that they take is set, and not learnt.
"""

import numpy as np

from longtail.recommenders.interactions import Histories

PLACES = 10
"""The first places of a user that are shared out."""
ROUNDING = 1e-6
"""Scores are float32. So much beside a threshold is on the right side of it."""
MANY = 2_000
"""The users that are looked at."""


def some_users(seen: Histories) -> np.ndarray:
    """At most MANY of the users with a history, evenly spaced: int64 [n], ascending."""
    users = np.flatnonzero(seen.lengths)
    return users[np.linspace(0, len(users) - 1, min(MANY, len(users))).astype(np.int64)]


def factor_for(warm: np.ndarray, cold: np.ndarray, share: float) -> float:
    """The factor of the scores of cold items at which they take `share` of the first places of the users.

    warm, cold float [users, places]: the best scores of warm and of cold items for each user, descending; not above 0 if
    there are no more. The c-th cold item is among the first p places if factor * cold_c > warm_(p + 1 - c), so the share
    rises with the factor. Places that no warm item takes are free for cold ones, and count: if they are more than the share,
    no cold item comes before a warm one. If the share cannot be reached, all cold items that can come do. 0 for no share.
    """
    wanted = int(share * cold.size)
    there = cold > 0
    if not wanted or not there.any():
        return 0.0
    thresholds = np.maximum(warm[:, ::-1], 0)[there] / cold[there]
    rising = np.sort(thresholds[thresholds > 0])
    if not len(rising):
        return 1.0
    more = max(0, wanted - int((thresholds == 0).sum()))
    return float(rising[more] * (1 - ROUNDING) if more < len(rising) else rising[-1] * (1 + ROUNDING))


def bias_for(warm: np.ndarray, cold: np.ndarray, share: float) -> float:
    """The number to be added to the scores of cold items so that they take `share` of the first places of the users.

    warm, cold float [users, places]: the best scores of warm and of cold items for each user, descending; -inf if there are
    no more. As `factor_for`, for scores of any sign: the c-th cold item is among the first p places if its score and the
    bias are more than warm_(p + 1 - c). -inf for no share.
    """
    wanted = int(share * cold.size)
    there = np.isfinite(cold)
    if not wanted or not there.any():
        return -np.inf
    thresholds = warm[:, ::-1][there].astype(np.float64) - cold[there]
    rising = np.sort(thresholds[np.isfinite(thresholds)])
    if not len(rising):
        return 0.0
    more = max(0, wanted - int((~np.isfinite(thresholds)).sum()))
    rounding = ROUNDING * float(max(np.abs(cold[there]).max(), np.abs(warm[np.isfinite(warm)]).max()))
    return float(rising[more] - rounding if more < len(rising) else rising[-1] + rounding)
