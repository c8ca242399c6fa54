"""Content ranks by texts alone: another log of the same items changes nothing but which items are cold."""

from pathlib import Path

import numpy as np
import pytest

from longtail.errors import InputError
from longtail.recommenders import build, load
from longtail.recommenders.models.content import ContentSection
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.workspace import Workspace
from tests.pins import require_pinned
from tests.recommenders.conftest import clusters, interactions, with_texts


def test_scores_are_sums_of_similar_texts() -> None:
    train = with_texts(clusters())
    model = build("content", ContentSection(recency=0.8)).fit(train)
    texts = similar_texts(train.texts(), 100).toarray()
    texts /= texts.max(axis=1)[texts.max(axis=1) > 0].mean()
    warm = np.asarray(train.matrix.sum(axis=0)).ravel() > 0
    history = np.array([3, 1, 14])
    expected = 0.8**2 * texts[3] + 0.8 * texts[1] + texts[14]
    found = model.score(model.seen.of([history]), None)[0]
    np.testing.assert_allclose(
        found[warm], np.where(expected > 0, expected, -np.inf)[warm], rtol=1e-4, atol=1e-6
    )


def test_the_log_says_nothing() -> None:
    """All items are warm in both logs, so that none is held back."""
    rng = np.random.default_rng(0)
    logs = [
        with_texts(interactions([rng.permutation(24)[:12].tolist() for _ in range(40)], 24)) for _ in range(2)
    ]
    history = [np.array([2, 5], np.int32)]
    first, second = (
        build("content", ContentSection()).fit(log).recommend_history(history, 10) for log in logs
    )
    np.testing.assert_array_equal(first, second)


def test_a_saved_model_answers_as_the_fitted_one(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path)) / "model"
    model = build("content", ContentSection()).fit(with_texts(clusters()))
    model.save(place)
    np.testing.assert_array_equal(load(place).recommend(np.arange(60), 7), model.recommend(np.arange(60), 7))


def test_without_texts_it_is_a_fault() -> None:
    with pytest.raises(InputError, match="text: no two items share a word"):
        build("content", ContentSection()).fit(clusters())


def test_equal_settings_give_equal_scores() -> None:
    model = build("content", ContentSection(recency=0.8)).fit(with_texts(clusters()))
    users = np.arange(1, 7)
    scores = model.score(model.seen.take(users), users)
    require_pinned(
        "recommenders/content",
        ContentSection.meaning,
        {"scores": np.where(np.isfinite(scores), scores, np.nan)},
        "class ContentSection of app/longtail/recommenders/models/content.py",
    )
