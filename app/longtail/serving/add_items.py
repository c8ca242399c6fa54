"""`longtail add-items`: items that come after training are recommended by their texts, and nothing is trained again.

They are published as a part of their own, beside what was trained. A running server takes them as a new version.
"""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from longtail.data.catalogue import COLD
from longtail.data.item_file import read_item_file
from longtail.data.item_words import item_words
from longtail.data.source import CATALOGUE
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.recommenders import load
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.new_items import (
    exposure,
    finds_new_items,
    found_by_text,
    reached,
    with_new_items,
)
from longtail.schema import ITEMS
from longtail.serving.versions.added_items import ADDED, added_rows, write_added
from longtail.serving.versions.served_run import trained_sources
from longtail.text.embed_stage import embed_new, read_vectors
from longtail.text.item_texts import ItemTexts
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace, fingerprint, read_manifest

MEANING = 1
"""The version of what is published."""
VECTORS = "added/vectors"
"""Has the vectors of the added items by each pretrained encoder; relative to the workspace."""
log = logging.getLogger("longtail")


def add_items(recipe: Recipe, ws: Workspace, file: str) -> None:
    """Publish `added/items`: the items of `file` that the workspace lacks, and how every recommender that is served finds
    them. Items that were added before stay, and those that the catalogue has by now are left out.

    Raises InputError for a bad file, if nothing can be served, or if what is served cannot recommend new items.
    """
    sources = trained_sources(ws, recipe.serving)
    data = ws / sources.data
    models = {fit: finds_new_items(load(ws / fit)) for fit in sources.fits}
    texts = TextSource.of(recipe.text, ws, data, [model.section for model in models.values()])
    for fit in models:
        _check_texts(recipe, ws, fit, texts)
    trained = (data / "items.parquet").read_table().sort_by("item").combine_chunks()
    listed, changed = read_item_file(file, recipe.dataset, trained)
    ws.claim()
    items = _with_earlier(ws, trained, listed, changed["item_null_id"] + changed["item_null_word"])
    if not items.num_rows:
        return
    fits = {fit: sources.made_of[fit] for fit in models}
    settings = {"items": fingerprint(items.to_pylist()), "fits": fits}
    stage = ws.stage(ADDED, settings, [data, *(ws / fit for fit in fits), *texts.vectors], MEANING)
    if stage.up_to_date:
        return
    known = _all_texts(recipe, ws, texts, item_words(trained), item_words(items))
    with stage.publishing() as draft:
        found = [found_by_text(model, known) for model in models.values()]
        write_added(items, found, draft)
        without = sum(not one for one in known.words[len(trained) :])
        stage.counts = {"items": items.num_rows, "without text": without}
        for fit, model, own in zip(models, models.values(), found, strict=True):
            stage.counts |= _told(fit, model, own, without)


def _check_texts(recipe: Recipe, ws: Workspace, fit: str, texts: TextSource) -> None:
    """Raise InputError if the recipe's encoders are not those that a fit has read."""
    fitted = read_manifest(ws / fit)
    own = [read_manifest(place)["fingerprint"] for place in texts.vectors]
    if fitted["inputs"][2:] != own or fitted["settings"].get("words", True) != texts.counted:
        raise InputError(
            f"text.encoders = {recipe.text.encoders}: {fit} was fitted with other vectors of texts. Give the recipe of the"
            f" run, or run this one: longtail run RECIPE --workspace {ws}."
        )


def _with_earlier(ws: Workspace, trained: pa.Table, listed: pa.Table, nameless: int) -> pa.Table:
    """All items that are published: those added earlier, then the new ones of the file; rows of schema.ITEMS. It tells what
    is left out.
    """
    published = ws / ADDED
    earlier = CATALOGUE.empty_table()
    if read_manifest(published) is not None:
        earlier = added_rows(published).select(CATALOGUE.names).cast(CATALOGUE)
    kept = _lacking(earlier, trained)
    new = _lacking(_lacking(listed, trained), kept)
    if nameless:
        log.warning("add-items: %d rows have no item id and are left out", nameless)
    if skipped := listed.num_rows - new.num_rows:
        log.info("add-items: %d items are known already and stay as they are", skipped)
    if gone := earlier.num_rows - kept.num_rows:
        log.info("add-items: %d items that were added before are in the catalogue now", gone)
    if not new.num_rows:
        log.warning("add-items: nothing is new in this file")
    catalogue = pa.concat_tables([kept, new]).combine_chunks()
    n = catalogue.num_rows
    codes = pa.array(np.arange(len(trained), len(trained) + n), pa.int32())
    columns = [codes, *catalogue.columns, pa.array(np.zeros(n), pa.int32()), pa.repeat(COLD, n)]
    return pa.table(columns, schema=ITEMS)


def _lacking(items: pa.Table, known: pa.Table) -> pa.Table:
    """The items that are not among the known ones."""
    there = pc.is_in(items["item_id"], known["item_id"].combine_chunks())
    return items.filter(pc.invert(there))


def _all_texts(
    recipe: Recipe, ws: Workspace, texts: TextSource, words: list[str], new: list[str]
) -> ItemTexts:
    """What is known of the texts of the catalogue, `words`, then of those of the new items, `new`. Vectors of the new ones
    are whitened as those of the catalogue, which stay as they are.
    """
    vectors = []
    for name, place in zip(recipe.text.pretrained, texts.vectors, strict=True):
        own = embed_new(recipe, ws, name, new, VECTORS)
        vectors.append(np.concatenate([read_vectors(place), read_vectors(own, whitened_as=place)]))
    return ItemTexts(words + new, texts.counted, tuple(vectors))


def _told(fit: str, model: Neighbours, found: csr_matrix, without: int) -> dict[str, float]:
    """Tell how many of the new items a recommender can recommend, and how often users see them. Returns the counts."""
    n_new = found.shape[0] - model.n_items
    near = int(reached(found)[model.n_items :].sum())
    share = exposure(with_new_items(model, found), model.n_items)
    log.info(
        "add-items: %s recommends %d of %d new items, in %.2f %% of the first ten places of users",
        *(fit, near, n_new, 100 * share),
    )
    if near < n_new:
        log.warning(
            "add-items: %d items cannot be recommended: %d have no text, the others none that is similar enough",
            *(n_new - near, without),
        )
    name = fit.partition("recommenders/")[2]
    return {f"recommended by {name}": near, f"share of places of {name}": share}
