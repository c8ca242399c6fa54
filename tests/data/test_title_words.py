"""The dial of the simulated store: at 0 the catalogue knows nothing of tastes, and more signal never tells less."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.title_words import blurred, item_categories, item_titles

signals = st.floats(0, 1)
seeds = st.integers(0, 2**32)
stores = st.integers(1, 70).flatmap(
    lambda tastes: st.tuples(
        st.just(tastes), st.lists(st.tuples(*[st.integers(0, tastes - 1)] * 4), min_size=1, max_size=40)
    )
)
"""The number of tastes; and the main and second taste of each item, twice, as if it were another store of equal size."""


def told(main: np.ndarray, second: np.ndarray, tastes: int, signal: float, seed: int) -> tuple[list, list]:
    """Titles and categories."""
    rng = np.random.default_rng(seed)
    titles = item_titles(main, second, tastes, signal, rng)
    return titles, item_categories(main, tastes, signal, rng)


@cache
def vocabularies(tastes: int) -> list[set[str]]:
    """The words of each taste, read from titles that tell all."""
    main = np.repeat(np.arange(tastes), 60)
    titles = item_titles(main, main, tastes, 1.0, np.random.default_rng(0))
    return [
        {word for title in titles[60 * taste : 60 * taste + 60] for word in title.split()[1:4]}
        for taste in range(tastes)
    ]


@given(stores, seeds)
def test_without_signal_the_catalogue_is_that_of_any_other_tastes(store, seed):
    """Independence, exactly: what is published is a function of the seed and of nothing that is hidden."""
    tastes, items = store
    main, second, other_main, other_second = np.array(items).T
    assert told(main, second, tastes, 0.0, seed) == told(other_main, other_second, tastes, 0.0, seed)


@given(stores, signals, signals, seeds)
def test_more_signal_keeps_all_that_less_signal_tells(store, one, other, seed):
    tastes, items = store
    main, second, *_ = np.array(items).T
    own = vocabularies(tastes)
    low, high = (told(main, second, tastes, signal, seed) for signal in sorted((one, other)))
    names = told(np.arange(tastes), np.arange(tastes), tastes, 1.0, 0)[1]
    for item, (first, then) in enumerate(zip(*(titles for titles, _ in (low, high)), strict=True)):
        for place, taste in ((1, main[item]), (2, main[item]), (3, second[item])):
            assert first.split()[place] not in own[taste] or then.split()[place] == first.split()[place]
        wanted = names[main[item]]
        assert low[1][item] != wanted or high[1][item] == wanted
        # Style and the item's own word are the same at any signal.
        assert first.split()[::4] == then.split()[::4]


@pytest.mark.parametrize("signal", [0.0, 0.3, 0.5, 1.0])
def test_the_share_of_right_words_is_that_of_the_recipe(signal):
    """A word is right with the probability s + (1 - s) / tastes: among any words some are right by chance."""
    tastes, n = 8, 20_000
    taste = np.random.default_rng(1).integers(0, tastes, (n, 3))
    right = (blurred(taste, tastes, signal, np.random.default_rng(2)) == taste).mean(axis=0)
    expected = signal + (1 - signal) / tastes
    assert np.abs(right - expected).max() <= 4 * np.sqrt(expected * (1 - expected) / n)


@given(st.integers(2, 70), signals, seeds)
def test_no_category_is_a_taste(tastes, signal, seed):
    """Not even at full signal: each category has four tastes or more, or all that there are."""
    taste = np.arange(tastes)
    categories = item_categories(taste, tastes, 1.0, np.random.default_rng(seed))
    _, sizes = np.unique(categories, return_counts=True)
    assert sizes.min() >= min(tastes, 4) and sizes.max() <= 7
    assert set(item_categories(taste, tastes, signal, np.random.default_rng(seed))) <= set(categories)


@given(stores, signals, seeds)
def test_titles_are_distinct_and_of_five_different_words(store, signal, seed):
    tastes, items = store
    main, second, *_ = np.array(items).T
    titles, _ = told(main, second, tastes, signal, seed)
    assert len(set(titles)) == len(titles)
    assert all(len(set(title.split())) == 5 for title in titles)


def test_full_signal_gives_the_titles_that_were_always_given():
    """Until version 0.3 there was no dial, and results of that time name these titles."""
    main = np.array([0, 5, 9, 0])
    second = np.array([0, 5, 2, 3])
    titles = item_titles(main, second, 16, 1.0, np.random.default_rng([7, 1]))
    assert titles == [
        "Simple Backpack Stove Tent Baba",
        "Premium Rolling Whisk Yeast Babe",
        "Simple Nebula Lunar Seed Babi",
        "Compact Tarp Tent Cymbal Babo",
    ]
