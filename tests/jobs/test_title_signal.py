"""What `jobs.title_signal` measures: by hand where a hand can, and along the dial of the simulated store."""

import numpy as np
import pyarrow as pa
import pytest

from jobs.title_signal import coherence, recovery, texts_of
from longtail.data.item_words import tf_idf
from longtail.data.simulated_items import catalogue, make_store
from longtail.data.simulation import simulate_histories
from longtail.data.source import CATALOGUE
from longtail.recipe import Simulation

SEED = 7


def test_coherence_by_hand():
    """Two users, each with two items of one text. For an item of a user, another user's item is one of the three other
    items, of which one has the same text: the mean cosines are 1 and 1/3.
    """
    vectors = tf_idf(["red hat", "red hat", "blue cap", "blue cap"])
    ratio, auc = coherence(vectors, np.array([0, 2, 4]), np.arange(4), np.random.default_rng(0))
    assert ratio == pytest.approx(3, rel=0.02) and auc == pytest.approx(2 / 3 + 1 / 6, abs=0.005)


def test_users_of_one_item_and_items_without_words_are_no_obstacle():
    vectors = tf_idf(["red hat", "hat", "", "red hat"])
    ratio, _ = coherence(vectors, np.array([0, 1, 3, 5]), np.array([3, 0, 1, 3, 2]), np.random.default_rng(0))
    assert np.isfinite(ratio)


def test_titles_are_measured_alone_and_with_the_attributes():
    rows = [{"item_id": "1", "title": "Red hat", "attributes": [("kind", "winter")]}, {"item_id": "2"}]
    found = texts_of(pa.Table.from_pylist(rows, CATALOGUE))
    assert found == {"title": ["Red hat", ""], "title and attributes": ["Red hat winter", ""]}


def of_store(signal: float) -> tuple[float, ...]:
    """Ratio, AUC, and the shares of tastes found, in the store of the demo."""
    simulation = Simulation(title_signal=signal)
    log = simulate_histories(simulation, SEED, 0).to_pandas()
    numbers = log.item_id.str[1:].astype(int).to_numpy()
    starts = np.append(np.flatnonzero(log.user_id != log.user_id.shift()), len(log))
    vectors = tf_idf(texts_of(catalogue(simulation, SEED))["title"])
    found = recovery(vectors, make_store(simulation, SEED).main)
    return (*coherence(vectors, starts, numbers, np.random.default_rng(0)), *found)


def test_every_figure_of_the_store_grows_with_its_signal_from_what_chance_gives():
    figures = np.array([of_store(signal) for signal in (0.0, 0.25, 0.5, 0.75, 1.0)])
    assert (np.diff(figures, axis=0) > 0).all()
    np.testing.assert_allclose(figures[0], [1, 0.5, 1 / 16, 1 / 16], atol=0.1)
    assert (figures[-1, 2:] > 0.9).all()
