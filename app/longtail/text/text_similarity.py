"""How similar the text of an item is to the texts of others, exactly, for some items at a time."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from longtail.data.item_words import tf_idf
from longtail.text.item_texts import ItemTexts

VALUES_AT_ONCE = 2**22
"""How many values of a dense matrix are held at a time: 16 MiB of float32."""


class TextSimilarity:
    """t(j, i), the mean of max(cos(j, i), 0)^2 over the encoders of `texts`; 0 for an item and itself. Neighbour models have
    the largest of these (`recommenders.models.similar_texts`).
    """

    def __init__(self, texts: ItemTexts) -> None:
        self._vectors = texts.vectors
        self._words = tf_idf(texts.words) if texts.counted else None
        self.n_items = len(texts.words)

    def of(self, items: np.ndarray) -> np.ndarray:
        """t of items int [n] with every item: float32 [n, n_items]."""
        squares = [np.maximum(part[items] @ part.T, 0) ** 2 for part in self._vectors]
        if self._words is not None:
            squares.append((self._words[items] @ self._words.T).toarray() ** 2)
        found = np.asarray(sum(squares) / len(squares), np.float32)
        found[np.arange(len(items)), items] = 0
        return found

    def sums(self, taken: csr_matrix, items: np.ndarray) -> np.ndarray:
        """The sum of t(j, items[r]) over the items j of row r: float64 [n].

        taken float32 [n, n_items]: the rows with their items. items int [n].
        """
        found = np.zeros(len(items))
        for start in range(0, len(items), step := self._step(self.n_items)):
            block = slice(start, start + step)
            found[block] = np.asarray(taken[block].multiply(self.of(items[block])).sum(axis=1)).ravel()
        return found

    def sums_of_all(self, taken: csr_matrix, items: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`sums` of every row of `taken` with every one of items int [m], in blocks: some of `items` int [b], and float32
        [b, rows].
        """
        step = self._step(max(taken.shape))
        for start in range(0, len(items), step):
            block = items[start : start + step]
            yield block, np.ascontiguousarray((taken @ self.of(block).T).T)

    def _step(self, width: int) -> int:
        return max(1, VALUES_AT_ONCE // max(1, width))
