"""Text and order: the blend equals a loop over the formula, and every part adds what it says."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.recommenders.models.text_order import TextOrder, followers
from longtail.recommenders.models.text_order import TextOrderSection as Section
from longtail.text.item_texts import ItemTexts
from tests.recommenders.conftest import clusters, interactions

N_ITEMS = 6
TEXTS = ["red soap", "blue soap", "red lip balm", "", "lip oil", "blue"]
logs = st.lists(st.lists(st.integers(0, N_ITEMS - 2), max_size=5, unique=True), min_size=1, max_size=5)


def told(train: Interactions) -> Interactions:
    """The same training set, with texts."""
    return dataclasses.replace(train, texts=lambda: ItemTexts(TEXTS))


def soon_after(train: Interactions, steps: int) -> np.ndarray:
    """The sum over users of r_j r_i for every i at most `steps` after j; generated items follow the whole history."""
    found = np.zeros((train.n_items, train.n_items))
    for start, end, observed in zip(train.indptr, train.indptr[1:], train.observed, strict=False):
        items, weights = train.items[start:end], train.weights[start:end]
        places = [min(place, observed) for place in range(len(items))]
        for one, other in np.ndindex(len(items), len(items)):
            if one < observed and 1 <= places[other] - places[one] <= steps:
                found[items[one], items[other]] += weights[one] * weights[other]
    return found


def evened(similarity: np.ndarray) -> np.ndarray:
    largest = similarity.max(axis=1)
    return similarity / largest[largest > 0].mean() if largest.any() else similarity


@given(
    log=logs,
    data=st.data(),
    steps=st.integers(1, 4),
    order=st.sampled_from([0.0, 1.0]),
    normalisation=st.sampled_from([0.3, 0.5]),
)
def test_the_blend_is_the_formula(log, data, steps, order, normalisation):
    generated = [data.draw(st.lists(st.integers(0, N_ITEMS - 2), max_size=2, unique=True)) for _ in log]
    generated = [[item for item in more if item not in own] for own, more in zip(log, generated, strict=True)]
    train = interactions(log, N_ITEMS, generated)
    section = Section(steps=steps, text=0, order=order, normalisation=normalisation, neighbours=N_ITEMS)
    found = TextOrder("text_order", section).fit(train).similarity.toarray()
    squares = np.asarray(train.matrix.power(2).sum(axis=0)).ravel()
    scale = np.where(squares > 0, np.maximum(squares, 1e-9) ** -normalisation, 0)
    ordered = soon_after(train, steps) * np.outer(scale, scale)
    np.testing.assert_allclose(followers(train, section).toarray(), ordered, rtol=1e-5)
    plain = ItemCFSection(normalisation=normalisation, neighbours=N_ITEMS)
    expected = evened(ItemCF("itemcf", plain).fit(train).similarity.toarray())
    np.fill_diagonal(ordered, 0)
    expected += order * evened(ordered)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_inserted_items_follow_and_are_followed_where_they_are():
    """Items 0 and 1 were observed, 2 is inserted between them."""
    train = interactions([[0, 1]], N_ITEMS, [[2]], weight=0.5)
    inserted = dataclasses.replace(train, sequence=np.array([0, 2, 1]))
    one = Section(steps=1, normalisation=0.0)
    assert np.argwhere(followers(inserted, one).toarray()).tolist() == [[0, 2], [2, 1]]
    assert np.argwhere(followers(train, one).toarray()).tolist() == [[0, 1], [1, 2]]


def test_without_texts_it_is_a_blend_of_the_log_alone():
    train, section = clusters(), Section()
    silent = dataclasses.replace(train, texts=lambda: ItemTexts([""] * train.n_items))
    with_none = TextOrder("text_order", section).fit(train).similarity
    assert (with_none != TextOrder("text_order", section).fit(silent).similarity).nnz == 0


def test_neighbours_are_kept_best_first():
    model = TextOrder("text_order", Section(neighbours=2)).fit(told(interactions([[0, 1, 2, 4]], N_ITEMS)))
    for start, end in zip(model.similarity.indptr, model.similarity.indptr[1:], strict=False):
        values = model.similarity.data[start:end]
        assert len(values) <= 4 and (np.diff(values) <= 0).all(), "two of the log, two of the texts"
