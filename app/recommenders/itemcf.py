"""ItemCF: item-to-item neighbours from who took both (papers 5.2), found by the `implicit` library."""

import numpy as np
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight
from scipy.sparse import csr_matrix

from app.recommenders.base import Interactions
from app.recommenders.neighbours import Neighbours


class ItemCF(Neighbours):
    """`cosine`: s(i, j) = sum_u r_ui r_uj / sqrt(N_i N_j) with N_i = sum_u r_ui, the expected counts if an interaction
    of weight r were kept with probability r; with weights of 1 the cosine C_ij / sqrt(|N(i)| |N(j)|) of the paper.
    The sum of weights stands under the root, not that of their squares: else an item whose only interactions are
    generated would be as similar as one whose interactions were observed, however small their weight.

    `bm25`: dot products of the BM25-weighted item x user matrix (K1 = 1.2, B = 0.75), the weights as term frequencies.
    """

    name = "itemcf"

    def _fit(self, train: Interactions) -> None:
        ratings = train.matrix.astype(np.float64)
        if self.section.similarity == "cosine":
            counts = np.asarray(ratings.sum(axis=0)).ravel()
            ratings.data /= np.sqrt(counts[ratings.indices])
        else:
            ratings = csr_matrix(bm25_weight(ratings.T, K1=1.2, B=0.75).T)
        kept = self.section.neighbours
        model = ItemItemRecommender(K=kept + 1, num_threads=1)  # one more, for the item itself is among them
        model.fit(ratings, show_progress=False)
        self.similarity = _nearest(model.similarity, kept)


def _nearest(similarity: csr_matrix, k: int) -> csr_matrix:
    """At most the k largest entries of each row, the diagonal left out."""
    rows = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr))
    other = (rows != similarity.indices) & (similarity.data > 0)
    rows, columns, values = rows[other], similarity.indices[other], similarity.data[other]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    near = np.arange(len(rows)) - np.searchsorted(rows, rows) < k
    cells = (rows[near], columns[near])
    return csr_matrix((values[near].astype(np.float32), cells), shape=similarity.shape)
