"""Draws of cold items: what is averaged, what t is of."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from jobs.cold_draws import compared, figures_of


def test_warm_items_are_averaged_by_their_users() -> None:
    rows = [
        ("itemcf", "observed", slice_, metric, k, value, n)
        for metric, k in (("recall", 10), ("recall", 50), ("ndcg", 10))
        for slice_, value, n in (
            ("all", 0.9, 60),
            ("items:head", 0.5, 30),
            ("items:tail", 0.2, 10),
            ("items:cold", 0.1, 20),
        )
    ]
    rows.append(("itemcf", "generated", "items:cold", "recall", 10, 0.7, 20))
    metrics = pd.DataFrame(rows, columns=["recommender", "variant", "slice", "metric", "k", "value", "n"])
    found = figures_of(metrics)
    assert found["itemcf", "warm", "recall@10"] == pytest.approx((0.5 * 30 + 0.2 * 10) / 40)
    assert found["itemcf", "cold", "recall@10"] == 0.1


def test_t_is_paired_over_draws() -> None:
    rng = np.random.default_rng(0)
    base, more = rng.random(6), rng.random(6)
    key = ("itemcf", "cold", "recall@10")
    found = {
        (draw, name): {key: float(own[draw])} for draw in range(6) for name, own in (("a", base), ("b", more))
    }
    reference, other = compared(found, "a")
    assert (reference.over, reference.t) == (0, 0)
    assert other.value == pytest.approx(more.mean()) and other.t == pytest.approx(
        ttest_rel(more, base).statistic
    )
