"""The words of each item, its title and its attributes, how they weigh (TF-IDF), and vectors of them (SVD)."""

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from longtail.workspace.place import Place

TEXT_DIM = 64


def read_item_words(data: Place) -> list[str]:
    """The text of every item in `data` (a published place), by code; empty for an item without title and attributes."""
    items = (data / "items.parquet").read_table(["title", "attributes"]).combine_chunks()
    return item_words(items)


def item_words(items: pa.Table) -> list[str]:
    """The title and the values of the attributes of each row, in one text. items: columns of `schema.ITEMS`."""
    return [
        " ".join([title or "", *(value or "" for _, value in attributes or [])]).strip()
        for title, attributes in zip(items["title"].to_pylist(), items["attributes"].to_pylist(), strict=True)
    ]


def tf_idf(texts: list[str]) -> csr_matrix:
    """The TF-IDF weights of the words, float32 [texts, words]; each row has length 1, or 0 if it has no word.

    Words are in lower case and have at least two letters or digits. A word that occurs n times in a text counts
    1 + log(n). The weight of a word is log((1 + texts) / (1 + texts with it)) + 1 (`scikit-learn`).
    """
    # Imported here, because it takes a second and most processes never need it.
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    words = weigh.build_analyzer()
    if not any(words(text) for text in texts):
        return csr_matrix((len(texts), 0), dtype=np.float32)
    return csr_matrix(weigh.fit_transform(texts))


def word_vectors(texts: list[str], seed: int, width: int = TEXT_DIM) -> np.ndarray:
    """Vectors of texts for models that learn a map of them: float32 [texts, width], standard deviation 1 over all.

    TF-IDF of words of one letter or more that two texts share, reduced by SVD (random projections, drawn with `seed`). All
    zero if there is no such word, or if it is in every text.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = np.zeros((len(texts), width), np.float32)
    weigh = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, min_df=2)
    try:
        weights = weigh.fit_transform(texts)
    except ValueError:  # scikit-learn's answer to texts without such a word
        return vectors
    size = min(width, min(weights.shape) - 1)
    if size < 1:
        return vectors
    reduced = TruncatedSVD(size, random_state=seed).fit_transform(weights)
    vectors[:, :size] = reduced / max(float(np.std(reduced)), 1e-6)
    return vectors
