"""Exact similarities of texts: those of the formula, the same that neighbour models keep the largest of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from longtail.data.item_words import tf_idf
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.text import text_similarity
from longtail.text.item_texts import ItemTexts
from longtail.text.text_similarity import TextSimilarity

WORDS = st.lists(st.text("ab cd", max_size=10), min_size=1, max_size=9)


def texts_of(words: list[str], counted: bool, encoders: int, seed: int = 0) -> ItemTexts:
    """Encoders with vectors of length 1, and one item without a vector."""
    vectors = []
    for number in range(encoders):
        raw = np.random.default_rng([seed, number]).normal(size=(len(words), 3)).astype(np.float32)
        raw /= np.linalg.norm(raw, axis=1, keepdims=True)
        raw[0] = 0
        vectors.append(raw)
    return ItemTexts(words, counted, tuple(vectors))


def formula(texts: ItemTexts) -> np.ndarray:
    parts = [np.asarray(one, float) for one in texts.vectors]
    if texts.counted:
        parts.append(tf_idf(texts.words).toarray().astype(float))
    whole = sum(np.maximum(part @ part.T, 0) ** 2 for part in parts) / len(parts)
    np.fill_diagonal(whole, 0)
    return whole


@given(words=WORDS, encoders=st.integers(0, 2), data=st.data())
def test_similarities_are_those_of_the_formula_and_of_neighbours(words, encoders, data):
    texts = texts_of(words, counted=encoders == 0 or data.draw(st.booleans()), encoders=encoders)
    items = np.array(data.draw(st.lists(st.integers(0, len(words) - 1), max_size=5)), int)
    expected = formula(texts)
    found = TextSimilarity(texts).of(items)
    np.testing.assert_allclose(found, expected[items], rtol=1e-4, atol=1e-6)
    whole = similar_texts(texts, len(words)).toarray()
    if whole.size:
        np.testing.assert_allclose(found, whole[items], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 20, 10_000])
def test_sums_do_not_depend_on_the_blocks(monkeypatch, at_once):
    monkeypatch.setattr(text_similarity, "VALUES_AT_ONCE", at_once)
    words = ["red soap", "blue soap", "red lip balm", "", "lip oil", "blue"]
    texts = texts_of(words, counted=True, encoders=1)
    taken = csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 1]], np.float32))
    similarity, expected = TextSimilarity(texts), taken.toarray() @ formula(texts)
    items = np.array([2, 4, 0])
    np.testing.assert_allclose(similarity.sums(taken, items), expected[[0, 1, 2], items], rtol=1e-5)
    blocks = [*similarity.sums_of_all(taken, items)]
    assert np.concatenate([block for block, _ in blocks]).tolist() == items.tolist()
    np.testing.assert_allclose(
        np.concatenate([sums for _, sums in blocks]), expected[:, items].T, rtol=1e-5, atol=1e-7
    )
