"""Who may take a cold item: the users with the largest sums of similarities, found for all items at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.takers import LATEST, takers
from longtail.data.item_words import tf_idf
from longtail.recommenders.interactions import Histories
from longtail.text.item_texts import ItemTexts
from longtail.text.text_similarity import TextSimilarity

N_ITEMS = 12
WORDS = ["oak chair", "oak desk", "pine desk", "wool rug", "", "red rug", "red lamp", "lamp", "oak rug"]
WORDS += ["pine chair", "wool desk", "glass"]
COLD = np.array([9, 10, 11, 4])
LOGS = st.lists(st.lists(st.integers(0, 8), unique=True, max_size=6), min_size=1, max_size=8)


def similarities() -> np.ndarray:
    weights = tf_idf(WORDS).toarray().astype(float)
    found = (weights @ weights.T) ** 2
    np.fill_diagonal(found, 0)
    return found


@given(log=LOGS, count=st.integers(1, 5))
def test_users_are_those_of_a_loop(log, count):
    found = takers(TextSimilarity(ItemTexts(WORDS)), Histories.of(log), COLD, count)
    whole = similarities()
    got: dict[int, dict[int, tuple[int, float]]] = {}
    for user in range(len(log)):
        own = found.of(user)
        assert (np.diff(found.items[own]) > 0).all(), "in the order of their codes"
        for item, place, score in zip(found.items[own], found.places[own], found.scores[own], strict=True):
            got.setdefault(int(item), {})[user] = (int(place), float(score))
    for item in COLD.tolist():
        sums = [sum(whole[item, j] for j in own) for own in log]
        able = sorted(user for user, own in enumerate(sums) if own > 1e-9)
        mine = got.get(item, {})
        assert len(mine) == min(count, len(able))
        assert sorted(place for place, _ in mine.values()) == list(range(len(mine)))
        left = [sums[user] for user in able if user not in mine]
        for user, (_, score) in mine.items():
            np.testing.assert_allclose(score, sums[user], rtol=1e-4)
            assert all(score >= other - 1e-5 for other in left)
        by_place = [score for _, (_, score) in sorted(mine.items(), key=lambda one: one[1][0])]
        assert by_place == sorted(by_place, reverse=True)


def test_only_the_latest_items_of_a_long_history_count():
    long = [0] * 5 + [5] * LATEST
    found = takers(TextSimilarity(ItemTexts(WORDS)), Histories.of([long, [0]]), np.array([9]), 5)
    assert found.items[found.of(0)].tolist() == [] and found.items[found.of(1)].tolist() == [9]


def test_a_log_without_cold_items_has_none():
    found = takers(TextSimilarity(ItemTexts(WORDS)), Histories.of([[0, 1]]), np.zeros(0, int), 5)
    assert not len(found.items) and found.of(0) == slice(0, 0)
