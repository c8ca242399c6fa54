"""Stage embed on a real Ray: vectors of a catalogue, made once, and read by the recommenders that ask for texts."""

import numpy as np
import pytest

from longtail.data import prepare
from longtail.data.item_words import read_item_words
from longtail.errors import InputError
from longtail.fusion import fuse
from longtail.recipe import Recipe
from longtail.recommenders import train
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.recommenders.training.reading import read_observed
from longtail.text import embed_stage
from longtail.text.embed_stage import _encode, embed, read_vectors, vectors_of
from longtail.text.encoder import Encoder
from longtail.text.pretrained import find
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace, read_manifest


def recipe_of(**changes: object) -> Recipe:
    values = {
        "name": "texts",
        "dataset": {"simulation": {"users": 60, "items": 40}},
        "text": {"encoders": ["tfidf", "minilm"]},
        "variants": ["observed"],
        "recommenders": {"itemcf": {"text": 0.5}, "bpr": {"text": True, "dim": 8, "epochs": 1}},
        "evaluation": {"protocol": "train-only"},
    }
    return Recipe.model_validate(values | changes)


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    recipe = recipe_of()
    ws = Workspace(str(tmp_path_factory.mktemp("texts") / "run"), recipe.model_dump(mode="json"))
    prepare(recipe, ws)
    embed(recipe, ws)
    return ws


def test_the_vectors_are_those_of_the_encoder(ws: Workspace) -> None:
    texts, found = read_item_words(ws / "data"), read_vectors(vectors_of(ws, "minilm"))
    raw = np.stack(Encoder(find("minilm", "text.encoders"), "text.encoders").encode(texts)[0])
    values, directions = np.linalg.eigh(np.cov(raw.T.astype(float), bias=True))
    kept = values > values.max() * 1e-6
    expected = (raw - raw.mean(axis=0)) @ directions[:, kept] * values[kept] ** -0.25
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-3)
    counts = read_manifest(ws / "text/minilm")["counts"]
    assert counts["items"] == len(texts) and counts["without text"] == 0 and counts["tokens"] > 4 * len(texts)


def test_what_is_there_is_not_made_again(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_stage, "_encode", None)
    embed(recipe_of(), ws)


def test_recommenders_learn_from_the_vectors(ws: Workspace) -> None:
    recipe = recipe_of()
    fuse(recipe, ws)
    train(recipe, ws)
    texts = TextSource.of(recipe.text, ws, ws / "data", recipe.recommenders.values())
    again = ItemCF("itemcf", ItemCFSection(text=0.5)).fit(read_observed(ws / "data", texts))
    saved = ItemCF("itemcf", ItemCFSection(text=0.5)).load(ws / "recommenders/observed/itemcf-0")
    assert (again.similarity != saved.similarity).nnz == 0
    alone = ItemCF("itemcf", ItemCFSection(text=0.5)).fit(read_observed(ws / "data"))
    assert (again.similarity != alone.similarity).nnz > 0
    both = texts().dense(seed=0)
    assert both.shape[1] > 64 and np.isfinite(both).all()


def test_a_fit_that_reads_no_texts_does_not_depend_on_them(ws: Workspace) -> None:
    texts = TextSource.of(recipe_of().text, ws, ws / "data", [ItemCFSection()])
    assert texts == TextSource(ws / "data") and not texts.told


def test_without_the_stage_a_fit_names_it(ws: Workspace) -> None:
    recipe = recipe_of(text={"encoders": ["smollm2"]})
    with pytest.raises(InputError, match="text/smollm2 is missing.*longtail embed"):
        TextSource.of(recipe.text, ws, ws / "data", recipe.recommenders.values())


def test_items_without_text_get_the_mean_and_are_counted(ray_here: None, tmp_path) -> None:
    draft = Workspace(str(tmp_path)) / "draft"
    counts = _encode(
        find("minilm", "text.encoders"), ["red soap", "", "garden hose", " "], recipe_of().resources, draft
    )
    assert counts["without text"] == 2
    found = read_vectors(draft)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 1, 0], atol=1e-5)
