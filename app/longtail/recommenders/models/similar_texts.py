"""Which items have similar texts."""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix

from longtail.data.item_words import tf_idf
from longtail.recommenders.models.nearest import nearest_items


def similar_texts(words: Callable[[], list[str]] | None, k: int) -> csr_matrix:
    """t(j, i) = cos(j, i)^2 of the TF-IDF vectors of title and attributes, of the k items nearest to each: float32
    [items, items], best first. Empty without texts.

    Squares let few very similar items count more than many that share a common word.
    """
    weights = tf_idf(words()) if words else csr_matrix((0, 0), dtype=np.float32)
    found = nearest_items(csr_matrix(weights.T.astype(np.float64)), k)
    found.data **= 2
    return found
