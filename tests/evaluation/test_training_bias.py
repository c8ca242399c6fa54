"""What is said of a training set equals a count of its interactions one by one, and its parts add up."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from longtail.evaluation.training_bias import measure_training_set
from longtail.schema import FUSED, PREFERENCES
from longtail.workspace import Workspace

N_ITEMS = 12


@pytest.fixture
def store(tmp_path, write_data):
    ws, rng = Workspace(str(tmp_path)), np.random.default_rng(3)
    histories = [rng.permutation(N_ITEMS)[: rng.integers(3, 8)].tolist() for _ in range(30)]
    write_data(ws, histories, [(len(items) - 2, len(items) - 1) for items in histories], N_ITEMS)
    return ws, [items[:-2] for items in histories]


def write_fused(ws, train, added, left_out=frozenset()):
    rows = [
        {
            "user": user,
            "items": [*own, *more],
            "weights": [0.0 if (user, item) in left_out else 1.0 for item in own] + [0.3] * len(more),
            "observed": len(own),
        }
        for user, (own, more) in enumerate(zip(train, added, strict=True))
    ]
    table = pa.Table.from_pylist(rows, FUSED)
    place = ws / "fused/generated"
    (place / "interactions/a.parquet").write_table(table.slice(13))
    (place / "interactions/b.parquet").write_table(table.slice(0, 13))
    return place


def by_hand(ws, pairs):
    items = (ws / "data/items.parquet").read_table().to_pylist()
    users = {row["user"]: row["slice"] for row in (ws / "data/histories").read_table().to_pylist()}
    shares = Counter()
    for user, item in pairs:
        shares[f"users:{users[user]}"] += 1 / len(pairs)
        shares[f"items:{items[item]['slice']}"] += 1 / len(pairs)
    popularity = np.mean([items[item]["train_count"] for _, item in pairs])
    coverage = len({item for _, item in pairs}) / N_ITEMS
    return {"interactions": len(pairs), "popularity": popularity, "coverage": coverage}, shares


def check(part, wanted):
    figures, shares = wanted
    assert {name: part[name] for name in figures} == pytest.approx(figures)
    assert {name: share for name, share in part["shares"].items() if share} == pytest.approx(dict(shares))


def test_equals_a_count_by_hand(store):
    ws, train = store
    rng = np.random.default_rng(4)
    added = [rng.integers(0, N_ITEMS, rng.integers(0, 4)).tolist() for _ in train]
    left_out = {(user, own[0]) for user, own in enumerate(train) if user % 3 == 0}
    found = measure_training_set(write_fused(ws, train, added, left_out), ws / "data")
    observed = [(user, item) for user, own in enumerate(train) for item in own]
    more = [(user, item) for user, own in enumerate(added) for item in own]
    after = [pair for pair in observed if pair not in left_out] + more
    parts = {"observed": observed, "left_out": sorted(left_out), "added": more, "after": after}
    assert set(found["parts"]) == set(parts)
    for name, pairs in parts.items():
        check(found["parts"][name], by_hand(ws, pairs))
    assert found["reached"]["all"] == pytest.approx(np.mean([bool(own) for own in added]))
    slices = (ws / "data/histories").read_table().sort_by("user")["slice"].to_pylist()
    sparse = [bool(own) for own, name in zip(added, slices, strict=True) if name == "sparse"]
    assert found["reached"]["users:sparse"] == pytest.approx(np.mean(sparse))
    assert "users:active" not in found["reached"], "nobody is"


def test_without_categories_and_additions_nothing_is_said_of_them(store):
    ws, train = store
    found = measure_training_set(write_fused(ws, train, [[] for _ in train]), ws / "data")
    assert found["parts"]["added"] == {
        **{"interactions": 0, "popularity": None, "coverage": 0.0, "shares": {}}
    }
    assert found["parts"]["after"] == found["parts"]["observed"]
    assert "left_out" not in found["parts"] and not any(found["reached"].values())
    assert not any(name.startswith("categor") for name in found["parts"]["observed"]["shares"])


def test_preferences_are_counted_beside_the_interactions(store):
    ws, train = store
    place = write_fused(ws, train, [[] for _ in train])
    pairs = [(0, 1, 2), (0, 3, 2), (7, 1, 5)]
    rows = [
        {"user": user, "preferred": better, "rejected": worse, "strategy": "pairs", "confidence": 1.0}
        for user, better, worse in pairs
    ]
    (place / "preferences/0.parquet").write_table(pa.Table.from_pylist(rows, PREFERENCES))
    found = measure_training_set(place, ws / "data")
    check(found["parts"]["preferred"], by_hand(ws, [(user, better) for user, better, _ in pairs]))
    check(found["parts"]["rejected"], by_hand(ws, [(user, worse) for user, _, worse in pairs]))
    assert found["reached"]["all"] == pytest.approx(2 / len(train))


def test_what_a_control_lacks_is_told(store):
    ws, train = store
    stage, short = ws.stage("fused/itemcf", {}), {"head": 0, "mid": 0, "tail": 2, "cold": 1}
    with stage.publishing() as draft:
        stage.counts = {"short": short}
        table = (write_fused(ws, train, [[]] * 30) / "interactions").read_table()
        (draft / "interactions/a.parquet").write_table(table)
    assert measure_training_set(ws / "fused/itemcf", ws / "data")["short"] == short
    assert "short" not in measure_training_set(ws / "fused/generated", ws / "data")
