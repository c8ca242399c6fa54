"""The input of the Swing kernel: the constants of the formula, and the interactions in an order that saves work.

Users are in ascending order of their number of items, and the items of a user in ascending order of popularity. So each
pair of users (u, v > u) is processed from the shorter list. The table of the item pairs of u is a triangle, whose long
rows then belong to items with few users. The order changes the results only by rounding.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class Formula(NamedTuple):
    """The constants of Swing (arXiv 2010.05525): alpha, and those of w_u = (user_offset + |I_u|)^-user_weight.

    user_weight 0 is the basic form; user_weight 0.5 with user_offset 0 is the weighted form. Flink ML uses user_offset
    15, user_weight 0.3 and alpha 0.
    """

    alpha: float = 1.0
    user_weight: float = 0.5
    user_offset: float = 0.0


class Log(NamedTuple):
    """The interactions by user and by item, in the order that the module describes. All weights are above 0.

    user_starts int64 [users + 1], items int32 [n], ratings float32 [n]: the items of each user.
    item_starts int64 [items + 1], takers int32 [n], taker_ratings float32 [n]: the users of each item, ascending.
    places int64 [n]: the index in `takers` of each entry of `items`; entries int64 [n]: the inverse of `places`.
    user_weights float32 [users]: w_u. `inside`: similarities are computed for the items 0..inside - 1.
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
    """The interactions as the kernel needs them, and the item codes int32 [items] in its order: those of `part` first."""
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
    by_user = by_item.tocsr()  # both conversions are counting sorts, so the items of a user are now ascending
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
