"""Precision counts the generated interactions, only them, and only those that the user truly likes."""

import numpy as np
import pyarrow as pa
import pytest

from longtail.data.simulation import liked
from longtail.evaluation.simulated_truth import precision, read_generated
from longtail.schema import FUSED
from longtail.workspace import Workspace

LISTS = [[3, 1, 2], [0], [], [2, 3, 0, 1]]
OBSERVED = [1, 1, 0, 2]


def fused_table(observed):
    """LISTS as a training set whose first `observed` [users] entries were observed."""
    rows = [
        {"user": user, "items": items, "weights": [1.0] * len(items), "observed": observed[user]}
        for user, items in enumerate(LISTS)
    ]
    return pa.Table.from_pylist(rows, FUSED)


@pytest.fixture
def places(tmp_path):
    ws = Workspace(str(tmp_path))
    rng = np.random.default_rng(8)
    user_taste, item_taste = (np.eye(3, dtype=np.float32)[rng.integers(0, 3, 4)] for _ in range(2))
    for name, key, taste in (("users/0", "user", user_taste), ("items", "item", item_taste)):
        order = rng.permutation(4)
        columns = {key: pa.array(order, pa.int32()), "taste": pa.array(list(taste[order]))}
        (ws / "data/truth" / f"{name}.parquet").write_table(pa.table(columns))
    fused = fused_table(OBSERVED)
    (ws / "fused" / "generated" / "interactions" / "0.parquet").write_table(fused.slice(2))
    (ws / "fused" / "generated" / "interactions" / "1.parquet").write_table(fused.slice(0, 2))
    return ws / "fused" / "generated", ws / "data", user_taste, item_taste


def test_only_what_stands_beyond_the_observed_counts(places):
    users, items = read_generated(places[0])
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 1), (0, 2), (3, 0), (3, 1)]


def test_precision_is_the_share_of_liked_pairs(places):
    fused, data, user_taste, item_taste = places
    right = [
        liked(user_taste[[user]], item_taste[[item]])[0] for user, item in [(0, 1), (0, 2), (3, 0), (3, 1)]
    ]
    found = precision(fused, data, 300, seed=1)
    assert found["n"] == 4
    assert found["value"] == pytest.approx(np.mean(right))
    assert 0 <= found["ci_low"] <= found["value"] <= found["ci_high"] <= 1


def test_a_variant_that_generated_nothing_has_no_precision(places, tmp_path):
    _, data, *_ = places
    empty = Workspace(str(tmp_path)) / "fused" / "observed"
    table = fused_table([len(items) for items in LISTS])
    (empty / "interactions" / "0.parquet").write_table(table)
    assert precision(empty, data, 10, seed=1) is None
