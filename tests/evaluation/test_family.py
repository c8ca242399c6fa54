"""The family is what the page compares, no more and no less, and its p are adjusted together."""

import numpy as np
import pytest

from longtail.evaluation.family import corrected
from longtail.evaluation.report_rows import Difference, Row
from longtail.evaluation.significance import benjamini_hochberg


def row(p, variant="discriminated", targets=500, over=0.01, **changes):
    over = None if variant == "observed" else Difference("itemcf", over, 0.0, 0.02, 2.0, p, pairs=3)
    fields = {"recommender": "swing", "variant": variant, "slice": "all", "metric": "recall", "k": 10}
    return Row(**fields | changes, value=0.1, n=400, targets=targets, over_best=over)


def test_only_the_family_is_adjusted():
    family = [row(0.01), row(0.02, slice="items:tail"), row(0.04, recommender="bpr", variant="served")]
    others = [
        row(0.001, metric="ndcg"),
        row(0.001, k=20),
        row(0.001, slice="items:head"),
        row(0.001, targets=99),
        row(None),
        row(0.001, variant="observed"),
    ]
    found = corrected([*others, *family], "recall", 10, ("all", "items:tail"))
    assert [one.p_adjusted for one in found[: len(others)]] == [None] * len(others)
    adjusted = [one.p_adjusted for one in found[len(others) :]]
    assert adjusted == pytest.approx(benjamini_hochberg(np.array([0.01, 0.02, 0.04])).tolist())
    assert adjusted == pytest.approx([0.03, 0.03, 0.04])
    assert corrected(others, "recall", 10, ("all",)) == others


def test_what_is_below_its_best_rival_is_never_a_discovery():
    """And it lets no other through: a rival chosen for being high is too easily missed."""
    found = corrected([row(1e-9, over=-0.01), row(0.04)], "recall", 10, ("all",))
    assert [one.p_adjusted for one in found] == [1, 0.08]
