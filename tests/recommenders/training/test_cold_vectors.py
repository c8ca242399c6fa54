"""Cold items of trained recommenders: who they are, what they get, how often they are seen, and what chose it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longtail.recommenders import assemble, build, load
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.trained_section import TextSection
from longtail.recommenders.training.cold_vectors import as_long
from longtail.recommenders.training.schedule import Schedule
from longtail.recommenders.training.trained import MAP, TrainedRecommender
from longtail.text.item_texts import ItemTexts
from longtail.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, interactions

READING = [name for name, section in SECTIONS.items() if isinstance(section, TextSection)]
N_ITEMS, WORDLESS = 64, 63
COLD = np.arange(2, 64, 8)
"""Two of the 64 items in each eighth of the catalogue are cold by this; and WORDLESS, which has no text."""


def shop(users: int = 200) -> Interactions:
    """Users of two tastes, the lower and the upper half of the items, which say so; COLD and WORDLESS nobody took."""
    rng = np.random.default_rng(1)
    halves = [np.setdiff1d(np.arange(half * 32, half * 32 + 32), [*COLD, WORDLESS]) for half in (0, 1)]
    rows = [rng.choice(halves[user % 2], 10, replace=False).tolist() for user in range(users)]
    texts = [
        "" if item == WORDLESS else f"half{item // 32} {' '.join(rng.choice([*'abcdefgh'], 2))}"
        for item in range(N_ITEMS)
    ]
    return replace(interactions(rows, N_ITEMS), texts=lambda: ItemTexts(texts))


def fitted(name: str, validation: Targets | None = None, **changes: object) -> TrainedRecommender:
    changes = {"text": True, "epochs": 12, "lr": 0.02, "validate_every": 0} | changes
    return build(name, SECTIONS[name].model_copy(update=changes), seed=2).fit(shop(), None, validation)


@pytest.mark.parametrize("name", READING)
def test_cold_items_with_a_text_are_candidates_and_others_are_not(name: str) -> None:
    model = fitted(name)
    assert model.candidates.by_text.tolist() == COLD.tolist()
    users = np.arange(200)
    scores = model.score(model.seen.take(users), users)
    assert np.isfinite(scores[:, COLD]).all() and np.isneginf(scores[:, WORDLESS]).all()
    ranked, _ = model.recommend(users, N_ITEMS)
    assert np.isin(COLD, ranked).all() and WORDLESS not in ranked


@pytest.mark.parametrize("name", READING)
def test_cold_items_take_their_share_and_no_more(name: str) -> None:
    shares = {}
    for asked in (0.0, 0.05, 0.5):
        model = fitted(name, cold_share=asked)
        items, _ = model.recommend(np.arange(200), 10)
        shares[asked] = np.isin(items, COLD).mean()
    assert shares[0.0] == 0 and not len(fitted(name, cold_share=0.0).candidates.by_text)
    assert 0.045 < shares[0.05] <= 0.05
    assert shares[0.05] < shares[0.5] <= 8 / 64


@pytest.mark.parametrize("name", READING)
def test_a_cold_item_is_offered_to_those_of_its_taste(name: str) -> None:
    model = fitted(name, epochs=40)
    users = np.arange(200)
    scores = model.score(model.seen.take(users), users)[:, COLD]
    own = (COLD >= 32) == (users % 2 == 1)[:, None]
    assert scores[own].mean() > scores[~own].mean()


@pytest.mark.parametrize("name", READING)
def test_warm_items_are_ranked_among_each_other_as_without_cold_ones(name: str) -> None:
    """Cold items are neither negatives nor targets, and the bias is theirs alone."""
    users = np.arange(200)
    with_cold, without = (fitted(name, cold_share=share) for share in (0.5, 0.0))
    warm = with_cold.candidates.warm
    scores = [model.score(model.seen.take(users), users)[:, warm] for model in (with_cold, without)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("name", READING)
def test_served_and_loaded_models_rank_cold_items_too(name: str, tmp_path: Path) -> None:
    model, place = fitted(name), Workspace(str(tmp_path)) / "model"
    model.save(place)
    parts = {part: array.copy() for part, array in model.parts().items()}
    for array in parts.values():
        array.flags.writeable = False
    users, history = np.arange(200), [np.array([COLD[0], 5], np.int32)]
    for again in (load(place), assemble(json.loads(json.dumps(model.meta)), parts)):
        assert again.candidates.bias == pytest.approx(model.counts["bias of cold items"])
        np.testing.assert_array_equal(again.recommend(users, 20), model.recommend(users, 20))
        np.testing.assert_array_equal(
            again.recommend_history(history, 9), model.recommend_history(history, 9)
        )
        asked, pairs = model.seen.take(users), np.tile([*COLD, WORDLESS, 0], (200, 1))
        np.testing.assert_allclose(
            again.score_pairs(asked, users, pairs),
            model.score(asked, users)[:, pairs[0]],
            rtol=1e-4,
            atol=1e-6,
        )


def test_a_cold_item_of_a_history_tells_of_its_user() -> None:
    model = fitted("bpr", epochs=60)
    lower, upper = (
        model.recommend_history([COLD[half].astype(np.int32)], 10)[0][0] for half in (slice(4), slice(4, 8))
    )
    assert (lower < 32).mean() > 0.7 and (upper >= 32).mean() > 0.7


def test_validation_with_cold_targets_chooses_and_a_schedule_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = np.arange(200)
    targets = Targets(users, COLD[(users % 2) * 4 + users % 4])
    model = fitted("bpr", targets)
    values = {one: model.counts[f"validation NDCG@10 among cold items, {one}"] for one in ("ridge", "learnt")}
    assert model.counts["vectors of cold items"] == max(values, key=values.__getitem__)
    assert "vectors of cold items" in (alone := fitted("bpr")).counts
    assert alone.counts["vectors of cold items"] == "ridge", "no cold target says otherwise"
    section = model.section
    vectors = {}
    for kind in ("ridge", "learnt"):
        again = build("bpr", section, seed=2)
        again.schedule = Schedule(12, (), kind)
        again.fit(shop(), None, targets)
        assert again.counts["vectors of cold items"] == kind
        assert "validation NDCG@10 among cold items, ridge" not in again.counts
        vectors[kind] = again.items[COLD]
    assert not np.allclose(vectors["ridge"], vectors["learnt"])
    np.testing.assert_array_equal(model.items[COLD], vectors[model.counts["vectors of cold items"]])


@pytest.mark.parametrize(("name", "layers"), [("bpr", 0), ("lightgcn", 2)])
def test_a_learnt_vector_is_the_mapped_text_as_long_as_warm_ones_are(name: str, layers: int) -> None:
    train, section = shop(), SECTIONS[name].model_copy(update={"text": True, "validate_every": 0})
    model = build(name, section, seed=2)
    model.schedule = Schedule(5, (), "learnt")
    kept = {}
    restore = model.restore
    model.restore = lambda arrays: (kept.update(arrays), restore(arrays))
    model.fit(train)
    mapped = train.texts().dense(seed=0) @ kept[MAP]
    warm = model.candidates.warm
    factor = np.linalg.lstsq(mapped[warm].reshape(-1, 1), kept["items"][warm].ravel(), rcond=None)[0][0]
    np.testing.assert_allclose(model.items[COLD], mapped[COLD] * factor, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.items[warm], kept["items"][warm])


def test_nothing_mapped_has_any_length() -> None:
    assert as_long(np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)) == 1


def preferring(users: np.ndarray, preferred: np.ndarray, rejected: np.ndarray) -> Preferences:
    given = (one.astype(np.int32) for one in (users, preferred, rejected))
    return Preferences(*given, np.ones(len(users), np.float32))


@pytest.mark.parametrize("name", READING)
def test_preferences_move_users_and_lift_no_cold_item_without_end(name: str) -> None:
    """A cold item stays the map of its text, and takes no more than its share. Each user is said to prefer one cold item of
    the own taste to another one, of which the log says nothing.
    """
    changes = {"text": True, "epochs": 30, "lr": 0.02, "validate_every": 0, "preference_weight": 2.0}
    section, users = SECTIONS[name].model_copy(update=changes), np.arange(200)
    preferred, rejected = (COLD[users % 2 * 4 + place] for place in (0, 1))
    leads = []
    for given in (None, preferring(users, preferred, rejected)):
        model = build(name, section, seed=2)
        model.schedule = Schedule(30, (), "learnt")
        model.fit(shop(), given)
        assert model.candidates.by_text.tolist() == COLD.tolist()
        assert np.isin(model.recommend(users, 10)[0], COLD).mean() <= 0.05
        scores = model.score(model.seen.take(users), users)
        lead = scores[users, preferred] - scores[users, rejected]
        leads.append(lead.mean() / scores[:, model.candidates.warm].std())
    assert leads[1] > leads[0] + 0.05, "users move towards the texts that they are said to prefer"


@pytest.mark.parametrize("name", READING)
def test_without_texts_a_preference_trains_an_item(name: str) -> None:
    section = SECTIONS[name].model_copy(update={"validate_every": 0})
    model = build(name, section).fit(
        replace(shop(), texts=None), preferring(np.array([3]), COLD[:1], COLD[1:2])
    )
    assert model.candidates.warm[COLD].tolist() == [True, True] + [False] * 6


def test_a_catalogue_without_cold_items_has_no_bias() -> None:
    train = shop()
    first = Histories.observed(train).take(np.arange(2))
    rows = [np.arange(N_ITEMS).tolist(), *(first.take([1]).items.tolist() for _ in range(3))]
    model = build("bpr", SECTIONS["bpr"].model_copy(update={"text": True, "validate_every": 0}))
    model.fit(replace(interactions(rows, N_ITEMS), texts=train.texts))
    assert not len(model.candidates.by_text) and "bias of cold items" not in model.counts
