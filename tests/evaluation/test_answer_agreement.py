"""Agreement with later interactions equals loops over users and proposals; where the data cannot say, nothing is said."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest

from longtail.evaluation.answer_agreement import agreement
from longtail.schema import ALREADY_SEEN, ANSWERS, DUPLICATE, OUTCOMES, UNDECIDED
from longtail.workspace import Workspace

N_ITEMS = 30
OTHERS = [outcome for outcome in OUTCOMES if outcome not in (ALREADY_SEEN, DUPLICATE)]


@pytest.fixture
def store(tmp_path, write_data):
    ws, rng = Workspace(str(tmp_path)), np.random.default_rng(1)
    histories = [rng.permutation(N_ITEMS)[: rng.integers(4, 9)].tolist() for _ in range(40)]
    write_data(ws, histories, [(len(items) - 2, len(items) - 1) for items in histories], N_ITEMS)
    return ws, [set(items[-2:]) for items in histories]


def write_answers(ws, proposals):
    """proposals: (user, list of proposals), an answer each, in two files."""
    rows = [
        {"request_id": str(row), "user": user, "strategy": "s", "proposals": own}
        for row, (user, own) in enumerate(proposals)
    ]
    table = pa.Table.from_pylist(rows, ANSWERS)
    place = ws / "augmentation/s/answers"
    place.delete()
    (place / "a.parquet").write_table(table.slice(len(table) // 2))
    (place / "b.parquet").write_table(table.slice(0, len(table) // 2))
    return place


@lru_cache
def slices_of(ws):
    items = (ws / "data/items.parquet").read_table()["slice"].to_pylist()
    return items, (ws / "data/histories").read_table().sort_by("user")["slice"].to_pylist()


def inside(name, ws, user, item):
    items, users = slices_of(ws)
    kind, _, part = name.partition(":")
    return name == "all" or part == (items[item] if kind == "items" else users[user])


def drawn(rng, n, **more):
    return [
        {"item": int(item), "outcome": str(rng.choice(OTHERS)), "likelihood": float(rng.random())} | more
        for item in rng.permutation(N_ITEMS)[:n]
    ]


def test_lists_equal_loops(store):
    ws, later = store
    rng = np.random.default_rng(5)
    asked = rng.permutation(len(later))[:30].tolist()
    # Some have several answers, in both files, and some an answer that names nothing.
    said = [(user, drawn(rng, rng.integers(0, 6))) for user in [*asked, *asked[:9]]]
    said[0][1].append({"item": None, "outcome": "not_in_catalogue", "likelihood": 0.4})
    found = agreement("next_item", write_answers(ws, said), ws / "data", 50, 0)
    named = {user: {p["item"] for one, own in said for p in own if one == user} for user in asked}
    length = {
        user: sum(p["item"] is not None for one, own in said for p in own if one == user) for user in asked
    }
    for name, figures in found["slices"].items():
        targets = {user: {item for item in later[user] if inside(name, ws, user, item)} for user in asked}
        users = [user for user in asked if targets[user]]
        hits = [bool(targets[user] & named[user]) for user in users]
        assert figures["hit"]["n"] == len(users)
        assert figures["hit"]["value"] == pytest.approx(np.mean(hits))
        assert figures["hit"]["ci_low"] <= np.mean(hits) <= figures["hit"]["ci_high"]
        chance = [1 - (1 - length[user] / N_ITEMS) ** len(targets[user]) for user in users]
        assert found["by_chance"][name] == pytest.approx(np.mean(chance))
    assert found["length"] == pytest.approx(np.mean([length[user] for user in asked]))


def test_deciles_hold_all_proposals_and_equal_loops(store):
    ws, later = store
    rng = np.random.default_rng(6)
    said = [(user, drawn(rng, 20)) for user in range(len(later))]
    found = agreement("id_list", write_answers(ws, said), ws / "data", 50, 0)["deciles"]
    assert len(found) == 10 and sum(one["proposals"] for one in found) == 20 * len(later)
    assert all(abs(one["proposals"] - 2 * len(later)) <= 0.1 * 2 * len(later) for one in found)
    for one in found:
        own = [
            (p["likelihood"], p["item"] in later[user])
            for user, proposals in said
            for p in proposals
            if one["low"] < np.float32(p["likelihood"]) <= one["high"]
        ]
        assert len(own) == one["proposals"]
        assert one["mean"] == pytest.approx(np.mean([likelihood for likelihood, _ in own]), rel=1e-5)
        assert one["taken"]["value"] == pytest.approx(np.mean([taken for _, taken in own]))


def test_what_was_seen_or_said_before_is_no_proposal(store):
    ws, later = store
    item = next(iter(later[0]))
    said = [(0, [{"item": item, "outcome": one, "likelihood": 0.5} for one in (ALREADY_SEEN, DUPLICATE)])]
    found = agreement("next_item", write_answers(ws, said), ws / "data", 10, 0)
    assert found["slices"]["all"]["hit"]["value"] == 0 and found["deciles"] == []


def test_rankings_equal_loops(store):
    ws, later = store
    rng = np.random.default_rng(7)
    said = [(user, drawn(rng, 12)) for user in range(len(later))]
    found = agreement("ranking", write_answers(ws, said), ws / "data", 50, 0)
    for name, figures in found["slices"].items():
        means = []
        for user, own in said:
            held = [
                p["likelihood"] for p in own if p["item"] in later[user] and inside(name, ws, user, p["item"])
            ]
            rest = [p["likelihood"] for p in own if p["item"] not in later[user]]
            if held:
                means.append((np.mean(held), np.mean(rest)))
        held, rest = np.mean(means, axis=0)
        assert figures["held_out"]["n"] == len(means)
        assert figures["held_out"]["value"] == pytest.approx(held, rel=1e-5)
        assert figures["others"]["value"] == pytest.approx(rest, rel=1e-5)
        assert figures["difference"]["value"] == pytest.approx(held - rest, abs=1e-6)
    assert "all" in found["slices"]


def test_pairs_equal_loops(store):
    ws, later = store
    rng = np.random.default_rng(8)
    said = []
    for user in range(len(later)):
        pairs = rng.permutation(N_ITEMS).reshape(-1, 2)[:9].tolist()
        own = [
            {"item": a, "against": b, "outcome": str(rng.choice(["accepted", UNDECIDED])), "likelihood": 0.7}
            for a, b in pairs
        ]
        said.append((user, own))
    found = agreement("cold_pairs", write_answers(ws, said), ws / "data", 50, 0)
    for name, figures in found["slices"].items():
        preferred, undecided = [], []
        for user, own in said:
            for p in own:
                held = {p["item"], p["against"]} & later[user]
                if len(held) == 1 and inside(name, ws, user, *held):
                    preferred.append(p["item"] in held)
                if not held and not name.startswith("items:") and inside(name, ws, user, p["item"]):
                    undecided.append(p["outcome"] == UNDECIDED)
        for figure, known in (("preferred", preferred), ("undecided", undecided)):
            assert (figure in figures) == bool(known)
            if known:
                assert figures[figure]["value"] == pytest.approx(np.mean(known))
    assert {"preferred", "undecided"} <= set(found["slices"]["all"])


def test_a_screening_asks_of_what_was_taken_before_so_later_items_say_nothing(store):
    ws, later = store
    others = [next(item for item in range(N_ITEMS) if item not in own) for own in later]
    said = [
        (user, [{"item": item, "outcome": "accepted", "likelihood": 0.5}]) for user, item in enumerate(others)
    ]
    assert agreement("screening", write_answers(ws, said), ws / "data", 10, 0) is None


def test_what_is_neither_list_nor_choice_is_not_measured(store):
    assert agreement("insertion", store[0] / "nowhere", store[0] / "data", 10, 0) is None
