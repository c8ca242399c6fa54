"""Similar texts equal a loop over the formula, and make neighbours of items that the log does not know."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.item_words import tf_idf
from longtail.errors import InputError
from longtail.recommenders import build
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.text.item_texts import ItemTexts
from tests.recommenders.conftest import SECTIONS, clusters, interactions, with_texts

TEXTS = ["red soap", "blue soap", "red lip balm", "", "lip oil", "blue"]
MODELS = ["itemcf", "bm25", "swing", "ease", "rp3beta", "text_order"]


def fitted(name: str, train=None, **changes: object) -> Neighbours:
    section = SECTIONS[name].model_copy(update=changes)
    return build(name, section).fit(with_texts(clusters()) if train is None else train)


@given(texts=st.lists(st.text("ab \u00e9", max_size=12), max_size=8), k=st.integers(1, 9))
def test_the_nearest_texts_are_those_of_the_formula(texts: list[str], k: int) -> None:
    weights = tf_idf(texts).toarray().astype(float)
    whole = (weights @ weights.T) ** 2
    np.fill_diagonal(whole, 0)
    found = similar_texts(ItemTexts(texts), k).toarray()
    for row, expected in zip(found, whole, strict=True):
        best = np.sort(expected)[::-1][:k]
        np.testing.assert_allclose(np.sort(row)[::-1][:k], best, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(row[row > 0], expected[row > 0], rtol=1e-5)


def test_without_texts_there_are_none() -> None:
    assert similar_texts(None, 3).nnz == similar_texts(ItemTexts(["", "!"]), 3).nnz == 0


@pytest.mark.parametrize("name", MODELS)
def test_texts_are_added_to_what_the_log_says(name: str) -> None:
    """Similarities of warm items are l + text l/t t, with the mean of the best similarities of each part as its unit."""
    log = fitted(name, text=0.0).similarity.toarray().astype(float)
    train = with_texts(clusters())
    texts = similar_texts(train.texts(), SECTIONS[name].neighbours).toarray().astype(float)
    found = fitted(name, text=0.7).similarity.toarray()
    usual = [part.max(axis=1)[part.max(axis=1) > 0].mean() for part in (log, texts)]
    warm = np.asarray(train.matrix.sum(axis=0)).ravel() > 0
    expected = log + 0.7 * usual[0] / usual[1] * texts
    np.testing.assert_allclose(found[:, warm], expected[:, warm], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_neighbours_stand_best_first_with_texts_too(name: str) -> None:
    near = fitted(name, text=1.0, neighbours=4).similarity
    for start, end in zip(near.indptr, near.indptr[1:], strict=False):
        assert (np.diff(near.data[start:end]) <= 0).all() and end - start <= 8


@pytest.mark.parametrize("name", MODELS)
def test_cold_items_take_their_share_and_no_more(name: str) -> None:
    """Item 50 and each 8th are cold: an eighth of the catalogue, so they take an eighth of the places at most."""
    rng = np.random.default_rng(1)
    cold = np.arange(2, 64, 8)
    rows = [rng.choice(np.setdiff1d(np.arange(64), cold), 12, replace=False).tolist() for _ in range(300)]
    train = with_texts(interactions(rows, 64))
    shares = {}
    for asked in (0.0, 0.05, 0.5):
        items, _ = fitted(name, train, text=0.5, cold_share=asked).recommend(np.arange(300), 10)
        shares[asked] = np.isin(items, cold).mean()
    assert shares[0.0] == 0
    assert 0.03 < shares[0.05] <= 0.05
    assert shares[0.05] < shares[0.5] <= 1 / 8


def test_a_cold_item_is_found_by_its_words() -> None:
    train = replace(interactions([[0, 1], [0, 1], [4, 5]], 6), texts=lambda: ItemTexts(TEXTS))
    model = fitted("itemcf", train, text=1.0, cold_share=1.0)
    items, _ = model.recommend_history([np.array([0], np.int32)], 5)
    assert 2 in items[0] and 3 not in items[0], "2 is red too, 3 has no words"


@pytest.mark.parametrize("name", [name for name in MODELS if name != "text_order"])
def test_texts_that_say_nothing_are_a_fault(name: str) -> None:
    with pytest.raises(InputError, match="text: no two items share a word"):
        fitted(name, clusters(), text=0.5)
