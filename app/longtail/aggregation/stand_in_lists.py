"""The list of each user by a recommender in the place of the generator: the control for a list of the LLM."""

import numpy as np

from longtail.aggregation.llm_lists import LLMLists
from longtail.arrays import offsets_of
from longtail.data.catalogue import slice_codes
from longtail.fusion.stand_ins import StandIn
from longtail.recipe import Judge
from longtail.recommenders import load
from longtail.recommenders.models.neighbours import Neighbours
from longtail.workspace.place import Place


def stand_in_lists(fit: Place, llm: LLMLists, data: Place, itemcf: Neighbours, judge: Judge) -> LLMLists:
    """Lists as long as those of the LLM, from the published stand-in `fit`, ordered by the same judge. A Ray task."""
    model = load(fit)
    slices = slice_codes((data / "items.parquet").read_table(["slice"])["slice"])
    users, lengths = np.flatnonzero(llm.lengths), np.zeros(len(llm.lengths), np.int64)
    found, scores = StandIn(model, itemcf, judge).lists(
        users, model.seen.take(users), llm.lengths[users], slices
    )
    lengths[users] = found.lengths
    return LLMLists(offsets_of(lengths), found.items, scores)
