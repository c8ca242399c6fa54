"""Which items have similar texts: by the words that they share, and by vectors of pretrained encoders."""

import numpy as np
from scipy.sparse import csr_matrix, vstack

from longtail.data.item_words import tf_idf
from longtail.recommenders.models.nearest import best_first, nearest, nearest_items
from longtail.recommenders.recommender import SCORES_AT_ONCE
from longtail.text.item_texts import ItemTexts


def similar_texts(texts: ItemTexts | None, k: int) -> csr_matrix:
    """t(j, i), the mean of cos(j, i)^2 over the encoders of `texts`, each with the k items nearest to j: float32
    [items, items], best first. Empty without texts. A negative cosine counts as 0.

    Squares let few very similar items count more than many that share a common word. The words take time for every pair of
    items that share one; vectors for all pairs.
    """
    parts = [] if texts is None else [nearest_vectors(one, k) for one in texts.vectors]
    if texts is not None and texts.counted:
        parts.append(nearest_items(csr_matrix(tf_idf(texts.words).T.astype(np.float64)), k))
    if not parts:
        return csr_matrix((0, 0), dtype=np.float32)
    return best_first(csr_matrix(sum(part.power(2) for part in parts) / len(parts)))


def nearest_vectors(vectors: np.ndarray, k: int) -> csr_matrix:
    """The k largest positive dot products of each row of `vectors`, float32 [items, width], with other rows: best first."""
    rows = max(1, SCORES_AT_ONCE // max(1, len(vectors)))
    blocks = []
    for start in range(0, len(vectors), rows):
        products = vectors[start : start + rows] @ vectors.T
        products[np.arange(len(products)), np.arange(start, start + len(products))] = 0
        if k < len(vectors):
            least = np.partition(products, len(vectors) - k, axis=1)[:, len(vectors) - k, None]
            products[products < least] = 0
        blocks.append(nearest(csr_matrix(np.maximum(products, 0)), k, start))
    return csr_matrix(vstack(blocks)) if blocks else csr_matrix((0, 0), dtype=np.float32)
