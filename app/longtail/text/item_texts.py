"""The texts of all items and the vectors of them, as recommenders get them."""

from dataclasses import dataclass

import numpy as np

from longtail.data.item_words import TEXT_DIM, word_vectors


@dataclass(frozen=True)
class ItemTexts:
    """words: the title and the attributes of each item, by code. counted: whether words are counted (TF-IDF). vectors: those
    of each pretrained encoder, float32 [items, width]; a row has length 1, or 0 without a text.
    """

    words: list[str]
    counted: bool = True
    vectors: tuple[np.ndarray, ...] = ()

    def dense(self, seed: int, words: int = TEXT_DIM) -> np.ndarray:
        """One vector of all that is known of an item's text, for models that learn a map of it: float32 [items, width]. Each
        encoder's part has the standard deviation 1 over all items, or 0 if it says nothing; that of TF-IDF has `words`
        values.
        """
        parts = [word_vectors(self.words, seed, words)] if self.counted else []
        parts += [part / max(float(part.std()), 1e-6) for part in self.vectors]
        return np.concatenate(parts, axis=1)
