"""Mapped is the library's ALS for warm items, and a map of texts for cold ones."""

import numpy as np
import pytest
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.mapped import MappedSection
from tests.pins import require_pinned
from tests.recommenders.conftest import clusters, with_texts

SECTION = MappedSection(dim=8, iterations=30, cold_share=0.5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 10.0])
def test_users_have_the_factors_that_the_library_gives_them(alpha: float) -> None:
    train, section = clusters(), SECTION.model_copy(update={"alpha": alpha})
    model = build("mapped", section, seed=1).fit(train)
    theirs = AlternatingLeastSquares(factors=8, alpha=alpha, regularization=section.l2)
    theirs.item_factors = model.items
    histories = Histories.of([np.array([1, 4, 7]), np.array([14, 12]), np.array([1, 1, 3])])
    taken = csr_matrix(histories.matrix(np.ones(8, np.float32), train.n_items))
    expected = theirs.recalculate_user(np.arange(3), taken)
    np.testing.assert_allclose(model.queries(histories, None), expected, rtol=1e-3, atol=1e-5)


def test_a_cold_item_stands_where_its_text_belongs() -> None:
    """The last two items are cold; their texts have the word of the upper half, as those of odd users' items have."""
    model = build("mapped", SECTION, seed=1).fit(with_texts(clusters()))
    assert model.candidates.by_text.tolist() == [22, 23]
    users = np.arange(1, 60)
    scores = model.score(model.seen.take(users), users)[:, 22:]
    assert scores[users % 2 == 1].mean() > scores[users % 2 == 0].mean() + 0.1


def test_a_cold_item_of_a_history_tells_of_its_user() -> None:
    model = build("mapped", SECTION, seed=1).fit(with_texts(clusters()))
    items, _ = model.recommend_history([np.array([22, 23], np.int32)], 8)
    assert (items[0] >= 11).mean() > 0.7


def test_without_texts_only_warm_items_are_ranked() -> None:
    model = build("mapped", SECTION, seed=1).fit(clusters())
    assert not len(model.candidates.by_text)
    assert np.isneginf(model.score(model.seen.take(np.arange(60)), np.arange(60))[:, 22:]).all()


def test_equal_settings_give_equal_scores_with_texts() -> None:
    model = build("mapped", SECTION, seed=3).fit(with_texts(clusters()))
    users = np.arange(1, 7)
    scores = model.score(model.seen.take(users), users)
    require_pinned(
        "recommenders/mapped-with-texts",
        MappedSection.meaning,
        {"scores": np.where(np.isfinite(scores), scores, np.nan)},
        "class MappedSection of app/longtail/recommenders/models/mapped.py",
    )
