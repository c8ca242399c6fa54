"""What the arithmetic of Swing reads: its constants, and the interactions in the order that saves work.

Users stand in ascending order of their number of items, a user's items in ascending order of their popularity.
So a pair of users (u, v > u) is worked on from the side of the shorter list, and the table of the pairs of items
of u, a triangle, has its long rows where few users are. No result depends on the order but by rounding.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class Formula(NamedTuple):
    """w_u = (user_offset + |I_u|)^-user_weight, and alpha: the constants of papers 5.1.

    user_weight 0 is the basic form, 0.5 with offset 0 the weighted one; Flink ML has offset 15, user_weight 0.3,
    alpha 0.
    """

    alpha: float = 1.0
    user_weight: float = 0.5
    user_offset: float = 0.0


class Log(NamedTuple):
    """Interactions both ways, in that order; every weight is above 0.

    user_starts int64 [users + 1], items int32 [n], ratings float32 [n]: the items of each user.
    item_starts int64 [items + 1], takers int32 [n], taker_ratings float32 [n]: the users of each item, ascending.
    places int64 [n]: where an entry of the first stands in the second; entries int64 [n]: the way back.
    user_weights float32 [users]. `inside`: similarities are wanted of the items 0..inside - 1.
    """

    user_starts: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    item_starts: np.ndarray
    takers: np.ndarray
    taker_ratings: np.ndarray
    places: np.ndarray
    entries: np.ndarray
    user_weights: np.ndarray
    inside: int


def ordered(part: np.ndarray, ratings: csr_matrix, formula: Formula) -> tuple[Log, np.ndarray]:
    """The interactions as the kernel wants them, and the item codes int32 [items] in its order: `part` first."""
    lengths = np.diff(ratings.indptr)
    totals = np.asarray(ratings.sum(axis=1)).ravel()
    outside = np.ones(ratings.shape[1], bool)
    outside[part] = False
    codes = np.lexsort((np.bincount(ratings.indices, minlength=ratings.shape[1]), outside))
    ranks = np.argsort(codes).astype(np.int32)
    users = np.argsort(lengths, kind="stable")
    ratings = ratings[users]
    renamed = csr_matrix((ratings.data, ranks[ratings.indices], ratings.indptr), shape=ratings.shape)
    by_item = renamed.tocsc()
    by_user = by_item.tocsr()  # both ways by counting, so that a user's items now ascend
    numbered = csr_matrix((np.arange(by_user.nnz), by_user.indices, by_user.indptr), shape=by_user.shape)
    entries = numbered.tocsc().data
    places = np.empty_like(entries)
    places[entries] = np.arange(len(entries))
    known = np.where(totals > 0, formula.user_offset + totals, 1)[users]
    log = Log(
        user_starts=by_user.indptr.astype(np.int64),
        items=by_user.indices,
        ratings=by_user.data,
        item_starts=by_item.indptr.astype(np.int64),
        takers=by_item.indices,
        taker_ratings=by_item.data,
        places=places,
        entries=entries,
        user_weights=(known**-formula.user_weight).astype(np.float32),
        inside=len(part),
    )
    return log, codes.astype(np.int32)
