"""Text and order: ItemCF, neighbours by the words of items, and what users take soon after an item, in one blend.

It knows all that a small LLM is given, the order of the histories and the texts of the items, and asks no LLM. So it is
the control for lists and logs that an LLM makes of the same.
"""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix, diags

from longtail.arrays import places_of, rows_of
from longtail.data.item_words import tf_idf
from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions, Preferences, Targets
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection, nearest_items
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY, nearest

NotNegative = Annotated[float, Field(ge=0)]


class TextOrderSection(ItemCFSection):
    text: NotNegative = 0.5
    """The weight of the similarity of texts; that of ItemCF is 1."""
    order: NotNegative = 0.5
    """The weight of what users take soon after an item; that of ItemCF is 1."""
    steps: Positive = 3
    """An item is soon after another one if it is at most this many interactions later."""
    recency: Annotated[float, Field(gt=0, le=1)] = 0.6


class TextOrder(ItemCF):
    """s(j, i) = c(j, i) / c + text t(j, i) / t + order o(j, i) / o.

    c(j, i): the similarity of ItemCF with the same settings. t(j, i): the cosine of the TF-IDF vectors of title and
    attributes. o(j, i) = sum over users with i at most `steps` after j of r_uj r_ui, divided by (n_j n_i)^normalisation
    as in ItemCF. c, t, o: the mean over all items with neighbours of the largest similarity of an item, so that the
    weights mean the same for all data. The parts keep their `neighbours` nearest items first, and so does the sum.

    A text names also an item that nobody took, so such an item may be ranked. Without texts the second part is empty.
    """

    section: TextOrderSection

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        super().learn(train, preferences, validation)
        k, section = self.section.neighbours, self.section
        total = _even(self.similarity)
        if section.text and train.words is not None:
            words = tf_idf(train.words()).astype(np.float64)
            total = total + section.text * _even(nearest_items(csr_matrix(words.T), k))
        if section.order:
            total = total + section.order * _even(nearest(followers(train, section), k))
        self.similarity = nearest(csr_matrix(total), k)


def followers(train: Interactions, section: TextOrderSection) -> csr_matrix:
    """o(j, i) of `TextOrder`, float64 items x items.

    Generated items are of the future, so they all follow the observed history directly, unless `train.sequence` says
    where they are.
    """
    lengths = np.diff(train.indptr)
    entries = np.arange(len(train.items)) if train.sequence is None else train.sequence
    items, weights = train.items[entries], train.weights[entries].astype(np.float64)
    starts, places = np.repeat(train.indptr[:-1], lengths), places_of(lengths)
    if train.sequence is None:
        places = np.minimum(places, train.observed[rows_of(lengths)])
    shape, found = (train.n_items, train.n_items), csr_matrix((train.n_items, train.n_items))
    for step in range(1, section.steps + 1):
        later = np.flatnonzero(places >= step)
        earlier = starts[later] + places[later] - step
        pairs = (weights[earlier] * weights[later], (items[earlier], items[later]))
        found = found + csr_matrix(pairs, shape=shape)
    squares = np.asarray(train.matrix.astype(np.float64).power(2).sum(axis=0)).ravel()
    scale = diags(
        np.where(squares > 0, np.maximum(squares, np.finfo(float).tiny) ** -section.normalisation, 0)
    )
    return csr_matrix(scale @ found @ scale)


def _even(similarity: csr_matrix) -> csr_matrix:
    """The similarities, divided by the mean of the largest of each item; items without neighbours do not count."""
    largest = similarity.max(axis=1).toarray().ravel()
    return similarity / largest[largest > 0].mean() if (largest > 0).any() else similarity


SPEC = RecommenderSpec(
    title="Text and order",
    settings=TextOrderSection,
    model=TextOrder,
    space={
        "normalisation": [0.3, 0.4, 0.5],
        "user_weight": ["none", "log"],
        "neighbours": NEIGHBOURS,
        "recency": RECENCY,
        "text": [0.0, 0.1, 0.25, 0.5, 1.0, 2.0],
        "order": [0.0, 0.1, 0.25, 0.5, 1.0, 2.0],
    },
    item_to_item=True,
)
