"""Items that come after the fit of an item-to-item recommender: it finds them by their texts, and is not trained again."""

from copy import copy

import numpy as np
from scipy.sparse import csr_matrix

from longtail.errors import InputError
from longtail.recommenders.models.nearest import best_first
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.similar_texts import similar_texts
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.exposure import PLACES, factor_for, some_users
from longtail.text.item_texts import ItemTexts


def finds_new_items(model: Recommender) -> Neighbours:
    """The model. Raises InputError if it cannot recommend an item after its fit."""
    if not isinstance(model, Neighbours) or not model.section.text:
        has = "text = 0" if isinstance(model, Neighbours) else "no neighbours"
        raise InputError(
            f"recommenders.{model.name} has {has}: new items are recommended only by item-to-item recommenders whose text is"
            " above 0. Set text of itemcf, bm25, swing, ease, rp3beta or text_order, and name this one in"
            " serving.recommender. Then run longtail run."
        )
    if model.text_scale is None:
        raise InputError(
            f"recommenders.{model.name}: its fit found no similar texts, or is of an older version. Give the items texts"
            " (dataset.columns), or remove its folder in recommenders/ and run longtail train."
        )
    return model


def found_by_text(model: Neighbours, texts: ItemTexts) -> csr_matrix:
    """The similarities e(j, i) of all pairs with a new item, float32 [all, all]; texts: those of the old items, then of the
    new ones.

        e(j, i) = g t(j, i)           to a new item i, from every item j
        e(j, i) = text f_i l / t t(j, i)   from a new item j to an old item i, as in `Neighbours`

    t: `similar_texts` of all items together, so i has to be among the nearest of j. g is the factor at which new items
    take `cold_share` of the first ten places of the users of the training set, or as large a share as that of new items with
    similar texts among all items if that is smaller, but at least one place. Cold items that are older have their own share.
    """
    n_old, n_all = model.n_items, len(texts.words)
    near = similar_texts(texts, model.section.neighbours)
    if not near.nnz:
        return csr_matrix((n_all, n_all), dtype=np.float32)
    new = np.arange(n_all) >= n_old
    scale = np.concatenate([model.text_scale, np.zeros(n_all - n_old, np.float32)])
    to_old = csr_matrix(near.multiply(new[:, None]).multiply(scale))
    to_new = csr_matrix(near.multiply(new))
    users, share = some_users(model.seen), min(model.section.cold_share, new_share(to_new, n_old))
    if share and len(users):
        share = max(share, 1 / (len(users) * PLACES))
    best_old = model.recommend(users, PLACES)[1]
    best_new = _with(model, best_first(to_new)).recommend(users, PLACES)[1]
    return best_first(csr_matrix(to_old + to_new * factor_for(best_old, best_new, share)))


def new_share(found: csr_matrix, n_old: int) -> float:
    """The share of the new items that are found among all items."""
    return float(np.count_nonzero(reached(found)[n_old:]) / found.shape[0])


def reached(found: csr_matrix) -> np.ndarray:
    """Which items have a similarity above 0 from any item: bool [items]."""
    return np.asarray(found.max(axis=0).todense()).ravel() > 0


def with_new_items(model: Neighbours, found: csr_matrix) -> Neighbours:
    """The model of all items: `found` are the similarities of `found_by_text`. What it says of old items stays as it was."""
    old = model.similarity
    starts = np.concatenate([old.indptr, np.full(found.shape[0] - model.n_items, old.indptr[-1])])
    padded = csr_matrix((old.data, old.indices, starts), shape=found.shape)
    return _with(model, best_first(csr_matrix(padded + found)))


def exposure(model: Neighbours, n_old: int) -> float:
    """The share of the first places of the users of the training set that items from the code `n_old` on take."""
    items = model.recommend(some_users(model.seen), PLACES)[0]
    return float((items >= n_old).sum() / max(items.size, 1))


def _with(model: Neighbours, similarity: csr_matrix) -> Neighbours:
    changed = copy(model)
    changed.similarity, changed.n_items = similarity, similarity.shape[0]
    return changed
