"""The words of items: title and attributes together, weighed by TF-IDF as the textbook says."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.item_words import TEXT_DIM, item_words, read_item_words, tf_idf, word_vectors
from longtail.schema import ITEMS
from longtail.workspace.place import Place

ROWS = [
    {"item": 0, "title": "Red Lip Balm", "attributes": [("category", "Lips"), ("brand", "Aloe")]},
    {"item": 1, "title": None, "attributes": [("category", "Lips")]},
    {"item": 2, "title": "Blue Soap", "attributes": []},
    {"item": 3, "title": None, "attributes": [("category", "")]},
]
TEXTS = ["Red Lip Balm Lips Aloe", "Lips", "Blue Soap", ""]


def test_a_text_has_title_and_attributes(tmp_path):
    table = pa.Table.from_pylist([dict.fromkeys(ITEMS.names) | row for row in ROWS], ITEMS)
    assert item_words(table) == TEXTS
    data = Place(pafs.LocalFileSystem(), str(tmp_path))
    (data / "items.parquet").write_table(table)
    assert read_item_words(data) == TEXTS


@given(
    st.lists(
        st.lists(st.sampled_from(["lip", "Lip", "soap", "red", "a"]), max_size=6), min_size=1, max_size=6
    )
)
def test_weights_are_those_of_the_formula(documents):
    counted = [Counter(word.lower() for word in words if len(word) > 1) for words in documents]
    met = Counter(word for words in counted for word in words)
    found = tf_idf([" ".join(words) for words in documents])
    expected = np.zeros((len(documents), len(met)))
    for row, words in enumerate(counted):
        for word, times in words.items():
            rarity = math.log((1 + len(documents)) / (1 + met[word])) + 1
            expected[row, sorted(met).index(word)] = (1 + math.log(times)) * rarity
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    expected = np.divide(expected, lengths, out=np.zeros_like(expected), where=lengths > 0)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)


def test_a_catalogue_without_words_has_none():
    found = tf_idf(["", "a !"])
    assert found.shape == (2, 0) and found.nnz == 0


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_texts_with_the_same_words_have_vectors_near_each_other():
    texts = ["red running shoe sport", "blue running shoe sport", "red tent camp", "blue tent camp", ""]
    vectors = word_vectors(texts, seed=0)
    assert vectors.shape == (5, TEXT_DIM) and vectors.dtype == np.float32
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) > cosine(vectors[0], vectors[3])
    assert np.abs(vectors[4]).max() < 1e-5, "nothing is known of it"
    kept = vectors[:, np.abs(vectors).max(axis=0) > 0]
    assert kept.std() == pytest.approx(1, rel=1e-3)
    np.testing.assert_array_equal(vectors, word_vectors(texts, seed=0))


@pytest.mark.parametrize("texts", [["", ""], ["one", "two"], ["one", "one"], []])
def test_words_that_tell_nothing_have_vectors_of_zeros(texts):
    """No word at all, no word of two texts, and one word of all texts, which leaves no direction to tell."""
    assert not word_vectors(texts, seed=0).any()
