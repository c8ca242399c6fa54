"""Item-to-item recommendation: what ItemCF and Swing share once the similarities are there.

The score of item i for a user is the sum over the items j of the history of recency^steps_back(j) * s(j, i),
where i is one of the nearest neighbours of j (papers 5.2, LLM-I2I's serving in 1.5).
"""

import numpy as np
from scipy.sparse import csr_matrix

from app.recipe import ItemCF, Swing
from app.recommenders.ranker import Histories, Ranker


class Neighbours(Ranker):
    """Scores by an item x item CSR matrix whose row j holds the neighbours of j.

    An item that is no neighbour of any item of the history is no candidate.
    """

    section: ItemCF | Swing
    similarity: csr_matrix

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        weights = self.section.recency ** histories.steps_back.astype(np.float32)
        scores = (histories.matrix(weights, self.n_items) @ self.similarity).toarray()
        scores[scores <= 0] = -np.inf
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "similarity": self.similarity.data,
            "indices": self.similarity.indices,
            "indptr": self.similarity.indptr,
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        parts = (arrays["similarity"], arrays["indices"], arrays["indptr"])
        self.similarity = csr_matrix(parts, shape=(self.n_items, self.n_items))


def neighbour_matrix(items: np.ndarray, scores: np.ndarray, n_items: int) -> csr_matrix:
    """CSR from `top_k` lists [rows, k]: entries of index -1 or without a positive score are left out."""
    kept = (items >= 0) & (scores > 0)
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return csr_matrix((scores[kept], items[kept], indptr), shape=(len(items), n_items))
