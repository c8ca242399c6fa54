"""Text and order: ItemCF, neighbours by the words of items, and what users take soon after an item, in one blend.

It knows all that a small LLM is given, the order of the histories and the texts of the items, and asks no LLM. So it is
the control for lists and logs that an LLM makes of the same.
"""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix, diags

from longtail.arrays import places_of, rows_of
from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.recommenders.models.nearest import nearest, usual_best
from longtail.recommenders.models.neighbours import NEIGHBOURS, RECENCY

NotNegative = Annotated[float, Field(ge=0)]


class TextOrderSection(ItemCFSection):
    meaning: ClassVar[int] = 2
    text: NotNegative = 0.5
    order: NotNegative = 0.5
    """The weight of what users take soon after an item; that of ItemCF is 1."""
    steps: Positive = 3
    """An item is soon after another one if it is at most this many interactions later."""
    recency: Annotated[float, Field(gt=0, le=1)] = 0.6


class TextOrder(ItemCF):
    """The similarities of the log are l(j, i) = c(j, i) / c + order o(j, i) / o, and those of texts are added to them.

    c(j, i): the similarity of ItemCF with the same settings. o(j, i) = sum over users with i at most `steps` after j of
    r_uj r_ui, divided by (n_j n_i)^normalisation as in ItemCF. c, o: the mean over all items with neighbours of the largest
    similarity of an item. Both parts keep their `neighbours` nearest items first, and so does the sum. Without texts the
    blend is of the log alone.
    """

    section: TextOrderSection
    needs_text = False

    def of_log(self, train: Interactions) -> csr_matrix:
        section, found = self.section, super().of_log(train)
        found = found / usual_best(found)
        if section.order:
            later = nearest(followers(train, section), section.neighbours)
            found = found + later * (section.order / usual_best(later))
        return nearest(csr_matrix(found), section.neighbours)


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
