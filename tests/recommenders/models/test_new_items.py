"""New items come into a fitted recommender by their texts: nothing old moves, and they are seen as often as is set."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from longtail.errors import InputError
from longtail.recommenders import assemble, build, load
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.new_items import (
    exposure,
    finds_new_items,
    found_by_text,
    reached,
    with_new_items,
)
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.text.item_texts import ItemTexts
from longtail.workspace.place import Place
from tests.recommenders.conftest import SECTIONS, interactions, with_texts
from tests.recommenders.models.test_similar_texts import MODELS

OLD, USERS = 64, 300
COLD = np.arange(2, OLD, 8)
"""Old items that nobody took."""
WORDS = [f"w{number}" for number in range(20)]


def train():
    rng = np.random.default_rng(1)
    warm = np.setdiff1d(np.arange(OLD), COLD)
    return with_texts(interactions([rng.choice(warm, 12, replace=False).tolist() for _ in range(USERS)], OLD))


def fitted(name: str, **changes: object) -> Neighbours:
    section = SECTIONS[name].model_copy(update={"text": 0.5, "neighbours": 10} | changes)
    return build(name, section).fit(train())


def texts_with(new: list[str]) -> ItemTexts:
    return ItemTexts(train().texts().words + new)


NEW = ["", *(f"{word} {other}" for word, other in zip(texts_with([]).words[:9], WORDS, strict=False))]
"""The first new item has no text, and the others share a word with some old ones."""


@pytest.mark.parametrize("name", MODELS)
def test_what_is_said_of_old_items_is_what_it_was_to_the_bit(name: str) -> None:
    model = fitted(name)
    grown = with_new_items(model, found_by_text(model, texts_with(NEW)))
    assert grown.n_items == OLD + len(NEW) and model.n_items == OLD
    np.testing.assert_array_equal(grown.score(grown.seen, None)[:, :OLD], model.score(model.seen, None))
    items, scores = (rows[:, :] for rows in grown.recommend(np.arange(USERS), OLD + len(NEW)))
    before, their = model.recommend(np.arange(USERS), OLD)
    for own, value, old, old_value in zip(items, scores, before, their, strict=True):
        kept = (own >= 0) & (own < OLD)
        np.testing.assert_array_equal(own[kept], old[old >= 0])
        np.testing.assert_array_equal(value[kept], old_value[old >= 0])


@pytest.mark.parametrize("name", MODELS)
def test_the_added_similarities_are_those_of_the_formula(name: str) -> None:
    every = OLD + len(NEW)  # else no new item might be among the nearest of any
    model, texts = fitted(name, cold_share=1.0, neighbours=every), texts_with(NEW)
    found = found_by_text(model, texts).toarray()
    near = similar_texts(texts, every).toarray()
    assert not found[:OLD, :OLD].any()
    log = np.asarray(build(name, model.section).fit(replace(train())).text_scale)
    for j in range(OLD, OLD + len(NEW)):
        for i in range(OLD):
            assert found[j, i] == pytest.approx(near[j, i] * log[i], rel=1e-5)
    to_new = near[:, OLD:] > 0
    factors = found[:, OLD:][to_new] / near[:, OLD:][to_new]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-5)
    assert not found[:, OLD:][~to_new].any() and factors[0] > 0


def test_the_scale_of_texts_is_that_of_the_fit() -> None:
    """A column of texts in the fit is t times its scale; of cold items it has the factor too."""
    model = fitted("itemcf")
    near = similar_texts(train().texts(), 10).toarray()
    of_log = build("itemcf", model.section.model_copy(update={"text": 0.0})).fit(train()).similarity.toarray()
    np.testing.assert_allclose(
        model.similarity.toarray(), of_log + near * model.text_scale, rtol=1e-4, atol=1e-7
    )
    warm = np.setdiff1d(np.arange(OLD), COLD)
    assert len(set(model.text_scale[warm])) == 1 and len(set(model.text_scale)) == 2


@given(
    new=st.lists(st.lists(st.sampled_from(range(OLD)), max_size=3), min_size=1, max_size=30),
    share=st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]),
)
def test_new_items_take_their_share_of_first_places_and_no_more(new: list[list[int]], share: float) -> None:
    """Each user here has enough old items for ten places. The last place of a share is not cut in two."""
    words = texts_with([]).words
    model = fitted("itemcf", cold_share=share)
    texts = texts_with([" ".join(words[item] for item in own) for own in new])
    found = found_by_text(model, texts)
    grown = with_new_items(model, found)
    met = int(reached(found)[OLD:].sum())
    seen = exposure(grown, OLD)
    items = grown.recommend(np.arange(USERS), 10)[0]
    assert seen == pytest.approx((items >= OLD).mean()), "all users are looked at, so the share is theirs"
    full = model.recommend(np.arange(USERS), 10)[0]
    free = (full < 0).mean()
    assert seen <= max(min(share, met / (OLD + len(new))), 1 / (10 * USERS), free) + 1e-9
    if share == 0:
        assert seen == 0


@pytest.mark.parametrize("name", MODELS)
def test_new_items_are_seen_at_the_named_share(name: str) -> None:
    model = fitted(name, cold_share=0.05)
    new = [*texts_with([]).words[:12]]
    grown = with_new_items(model, found_by_text(model, texts_with(new)))
    assert 0.03 < exposure(grown, OLD) <= 0.05


def test_a_single_new_item_is_recommended() -> None:
    """Its share of the catalogue is less than one place of these users, and it is new all the same."""
    model = fitted("itemcf", cold_share=0.05)
    few = model.seen.take(np.arange(4))
    model.seen = few
    grown = with_new_items(model, found_by_text(model, texts_with([train().texts().words[0]])))
    assert exposure(grown, OLD) == pytest.approx(1 / 40)


def test_a_history_may_have_a_new_item() -> None:
    model, words = fitted("itemcf"), train().texts().words
    grown = with_new_items(model, found_by_text(model, texts_with([words[5], words[5], ""])))
    items, _ = grown.recommend_history([np.array([OLD], np.int32), np.array([OLD + 2], np.int32)], 5)
    assert len(items[0][items[0] >= 0]) == 5 and OLD not in items[0]
    assert (items[1] < 0).all(), "nothing is known of this one"
    near, _ = grown.similar_items(np.array([OLD]), 3)
    assert OLD + 1 in near[0] or (near[0] >= 0).all()


def test_texts_without_a_common_word_add_items_that_nobody_gets() -> None:
    model = build("itemcf", SECTIONS["itemcf"].model_copy(update={"text": 0.5})).fit(train())
    found = found_by_text(model, texts_with(["nowhere", "elsewhere"]))
    grown = with_new_items(model, found)
    assert grown.n_items == OLD + 2 and exposure(grown, OLD) == 0 and not reached(found)[OLD:].any()


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_assembled_models_find_the_same(name: str, tmp_path) -> None:
    model, texts = fitted(name), texts_with(NEW)
    place = Place.named(str(tmp_path), "here")
    model.save(place)
    for other in (load(place), assemble(model.meta, model.parts())):
        assert (found_by_text(finds_new_items(other), texts) != found_by_text(model, texts)).nnz == 0


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("popularity", {}, "recommenders.popularity has no neighbours"),
        ("itemcf", {"text": 0.0}, "recommenders.itemcf has text = 0"),
    ],
)
def test_who_cannot_recommend_new_items_says_what_to_set(name: str, changes: dict, says: str) -> None:
    model = build(name, SECTIONS[name].model_copy(update=changes)).fit(train())
    with pytest.raises(InputError, match=says):
        finds_new_items(model)


def test_a_fit_that_does_not_say_its_scale_is_refused() -> None:
    model = fitted("itemcf")
    model.text_scale = None
    with pytest.raises(InputError, match="longtail train"):
        finds_new_items(model)


def test_the_extension_does_not_change_the_model() -> None:
    model = fitted("itemcf")
    before = model.similarity.copy()
    with_new_items(model, found_by_text(model, texts_with(NEW)))
    assert (before != model.similarity).nnz == 0 and isinstance(model.similarity, csr_matrix)
