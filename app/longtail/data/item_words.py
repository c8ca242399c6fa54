"""The words of each item, its title and its attributes, and how they weigh: TF-IDF."""

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from longtail.workspace.place import Place


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
