"""ItemCF: item-to-item neighbours from who took both (papers 5.2), found by the `implicit` library."""

from functools import partial

import numpy as np
from implicit.nearest_neighbours import ItemItemRecommender, bm25_weight, normalize
from scipy.sparse import csr_matrix

from app.recommenders.base import Interactions, Preferences, Targets
from app.recommenders.neighbours import Neighbours


class ItemCF(Neighbours):
    """`cosine`: s(i, j) = sum_u r_ui r_uj / (|r_i| |r_j|) over the interaction weights r; with weights of 1
    this is C_ij / sqrt(|N(i)| |N(j)|). A cosine does not know the scale of an item's weights: an item with
    generated interactions only is as similar as if they were observed. Beside observed ones they count by
    their weight.

    `bm25`: dot products of the BM25-weighted item x user matrix (K1 = 1.2, B = 0.75), the weights as term
    frequencies.
    """

    name = "itemcf"

    def _fit(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        ratings = train.matrix.astype(np.float64)
        ratings.eliminate_zeros()
        weigh = {"cosine": normalize, "bm25": partial(bm25_weight, K1=1.2, B=0.75)}[self.section.similarity]
        kept = self.section.neighbours
        model = ItemItemRecommender(K=kept + 1, num_threads=1)  # one more, for the item itself is among them
        model.fit(csr_matrix(weigh(ratings.T).T), show_progress=False)
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
