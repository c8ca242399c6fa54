"""The family of tests that a page shows together, and their p adjusted for being many."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from longtail.evaluation.report_rows import Row
from longtail.evaluation.significance import benjamini_hochberg
from longtail.evaluation.slices import ENOUGH_TARGETS


def corrected(rows: Sequence[Row], metric: str, k: int, slices: Collection[str]) -> list[Row]:
    """The rows, with `p_adjusted` in those of the family.

    The family: every variant of an LLM over its best rival, for all recommenders, in one metric at one k, on the `slices`
    with at least ENOUGH_TARGETS targets. The share of false claims is held, by Benjamini and Hochberg's method, and not the
    chance of any, as Holm's would: of three pairs no p is so small that it could stand among hundreds. Only «above» is
    tested: whoever is below a rival that was chosen for being high shows nothing, and has the p 1.
    """
    rows = list(rows)
    places = [
        place
        for place, row in enumerate(rows)
        if (row.metric, row.k) == (metric, k)
        and row.slice in slices
        and row.targets >= ENOUGH_TARGETS
        and row.over_best is not None
        and row.over_best.p is not None
    ]
    found = [over.p if over.value > 0 else 1.0 for over in (rows[place].over_best for place in places)]
    adjusted = benjamini_hochberg(np.array(found, np.float64))
    for place, p in zip(places, adjusted.tolist(), strict=True):
        rows[place] = replace(rows[place], p_adjusted=p)
    return rows
