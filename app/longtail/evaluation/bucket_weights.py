"""The weights of the kind `bucketed`: the best on validation for each sparsity bucket, shrunk towards the paper's curve.

The weight of bucket b is (n_b * best_b + SHRINKAGE * paper_b) / (n_b + SHRINKAGE): n_b users are in it, best_b is the weight
with the highest sum of NDCG@10 over them, and paper_b the mean weight that the best `paper` fusion gives them. It is rounded
to the weights that were tried, so it needs no ranking of its own: its NDCG@10 in a bucket is that of `uniform` with it.

Five numbers fit the users that they were chosen on better than other users. So they are validated *out of fold*: the users
are cut into FOLDS parts, and each part is measured with weights that were fitted on the other parts.
"""

import numpy as np

from longtail.aggregation.formulas import BUCKETS, Utility
from longtail.evaluation.fusion_grid import WEIGHTS, paper_columns, uniform_columns

FOLDS = 5
SHRINKAGE = 500
"""The prior counts as much as so many users. If NDCG@10 of one user changes by 0.1 from weight to weight (one standard
deviation), so many users tell a difference of 0.005 with t = 1."""


def fitted(users: np.ndarray, ndcg: np.ndarray, alpha: np.ndarray, utility: Utility) -> np.ndarray:
    """The place in WEIGHTS of the weight of each bucket: int64 [BUCKETS].

    users int [BUCKETS]; ndcg, alpha float64 [BUCKETS, GRID]: the sums over the users of a bucket of NDCG@10 and of alpha_u
    with each fusion. There must be a user.
    """
    papers = paper_columns(utility)
    paper = papers[int(ndcg[:, papers].sum(axis=0).argmax())]
    # An empty bucket has the mean of all.
    prior = np.where(users > 0, alpha[:, paper] / np.maximum(users, 1), alpha[:, paper].sum() / users.sum())
    best = np.array(WEIGHTS)[ndcg[:, uniform_columns(utility)].argmax(axis=1)]
    shrunk = (users * best + SHRINKAGE * prior) / (users + SHRINKAGE)
    return np.abs(shrunk[:, None] - np.array(WEIGHTS)).argmin(axis=1)


def out_of_fold(users: np.ndarray, ndcg: np.ndarray, alpha: np.ndarray, utility: Utility) -> np.ndarray:
    """The weights for each fold and bucket, fitted on the other folds: int64 [FOLDS, BUCKETS], as `fitted`.

    users int [FOLDS, BUCKETS]; ndcg, alpha float64 [FOLDS, BUCKETS, GRID]. If the other folds have no user, those of all.
    """
    found = np.empty((FOLDS, BUCKETS), np.int64)
    for fold in range(FOLDS):
        others = np.arange(FOLDS) != fold
        if not users[others].any():
            others[:] = True
        found[fold] = fitted(*(one[others].sum(axis=0) for one in (users, ndcg, alpha)), utility)
    return found
