"""Sparsity on purpose: training parts are cut as asked, by whatever blocks, and held-out items stay."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import Prepared, prepare, read_histories
from longtail.data.sparsity import ALL, shorten, smallest_numbers, thin, thresholds
from longtail.recipe import Dataset, Recipe
from longtail.schema import HISTORIES, STRENGTHS
from longtail.workspace import Workspace

N_ITEMS = 6
LOGS = st.lists(
    st.tuples(st.lists(st.integers(0, N_ITEMS - 1), max_size=8), st.integers(0, 2), st.integers(0, 2)),
    max_size=12,
)


def histories(log: list[tuple[list[int], int, int]], strong: bool = False) -> pa.Table:
    """Users of (items, number of validation items, number of test items)."""
    rows = [
        {
            "user": user,
            "user_id": f"u{user}",
            "items": items,
            "timestamps": list(range(len(items))),
            "train_end": max(0, len(items) - valid - test),
            "valid_end": max(0, len(items) - test),
            "slice": "active",
        }
        | ({STRENGTHS.name: [10 + place for place in range(len(items))]} if strong else {})
        for user, (items, valid, test) in enumerate(log)
    ]
    return pa.Table.from_pylist(rows, HISTORIES.append(STRENGTHS) if strong else HISTORIES)


def parts(table: pa.Table) -> list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]]:
    """The training and the held-out interactions of each user, with all that is known of each."""
    lists = [name for name in ("items", "timestamps", STRENGTHS.name) if name in table.column_names]
    found = []
    for row in table.to_pylist():
        taken = list(zip(*(row[name] for name in lists), strict=True))
        found.append((taken[: row["train_end"]], taken[row["train_end"] :]))
    return found


def thinned(table: pa.Table, most: int, seed: int = 0, blocks: int = 1) -> pa.Table:
    cut = [table.slice(start * len(table) // blocks) for start in range(blocks)]
    cut = [
        one.slice(0, len(one) - len(after))
        for one, after in zip(cut, [*cut[1:], table.slice(0, 0)], strict=True)
    ]
    limits = thresholds([smallest_numbers(one, most, seed) for one in cut], N_ITEMS, most)
    return pa.concat_tables([thin(one, limits, Dataset(), seed) for one in cut])


@given(LOGS, st.integers(1, 5), st.booleans())
def test_a_short_history_has_the_latest_training_interactions(log, most, strong):
    table = histories(log, strong)
    cut = shorten(table, Dataset(history_max=most, sparse_max=1, active_min=3))
    for (train, held_out), (left, still) in zip(parts(table), parts(cut), strict=True):
        assert left == train[-most:] and still == held_out
    slices = [
        "sparse" if end <= 1 else "active" if end >= 3 else "regular" for end in cut["train_end"].to_pylist()
    ]
    assert cut["slice"].to_pylist() == slices
    assert cut.schema == table.schema


@given(LOGS, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_thin_item_has_so_many_users_whatever_the_blocks(log, most, blocks, strong):
    table = histories(log, strong)
    cut = thinned(table, most, blocks=blocks)
    assert parts(cut) == parts(thinned(table, most))
    users, left = ([set() for _ in range(N_ITEMS)] for _ in range(2))
    for user, ((train, held_out), (kept, still)) in enumerate(zip(parts(table), parts(cut), strict=True)):
        assert still == held_out and [one for one in train if one in kept] == kept
        for sets, taken in ((users, train), (left, kept)):
            for one in taken:
                sets[one[0]].add(user)
        assert all(one in kept for one in train if one[0] in {item for item, *_ in kept}), (
            "a pair stays whole"
        )
    assert [len(one) for one in left] == [min(len(one), most) for one in users]


@given(LOGS)
def test_a_smaller_number_keeps_a_part_of_what_a_larger_one_keeps(log):
    table = histories(log)
    fewer, more = (parts(thinned(table, most)) for most in (1, 2))
    assert all(set(a) <= set(b) for (a, _), (b, _) in zip(fewer, more, strict=True))


def test_the_seed_draws_and_every_user_has_the_same_chance():
    table = histories([([0, 1], 1, 0)] * 40)
    kept = np.array([[len(train) for train, _ in parts(thinned(table, 10, seed))] for seed in range(200)])
    assert (kept.sum(axis=1) == 10).all()
    assert len(np.unique(kept, axis=0)) > 190
    assert abs(kept.mean(axis=0) - 0.25).max() < 0.15


def test_no_limit_for_an_item_with_few_users():
    limits = thresholds([smallest_numbers(histories([([0, 1], 0, 0), ([0], 0, 0)]), 2, 0)], N_ITEMS, 2)
    assert limits[1] == ALL and limits[2] == ALL and 0 < limits[0] < ALL


@pytest.mark.parametrize(
    ("changes", "repeats"),
    [
        ({"history_max": 3}, "weight"),
        ({"item_max": 4}, "all"),
        ({"history_max": 4, "item_max": 5}, "first"),
    ],
)
def test_prepare_cuts_both_rounds_and_counts_what_it_drops(tmp_path: Path, ray_here: None, changes, repeats):
    values = {"simulation": {"users": 150, "items": 40, "tastes": 4}, "k_core": 2, "repeats": repeats}
    found = {}
    for name, dataset in (("whole", values), ("cut", values | changes)):
        recipe = Recipe.model_validate(
            {"name": "x", "dataset": dataset, "variants": ["observed"], "augment": []}
        )
        ws = Workspace(str(tmp_path / name))
        prepare(recipe, ws)
        found[name] = [Prepared(ws, place) for place in ("data", "final/data")]
    for whole, cut in zip(found["whole"], found["cut"], strict=True):
        assert whole.n_users == cut.n_users and whole.items["item_id"].equals(cut.items["item_id"])
        before, after = (read_histories(one.place).to_pylist() for one in (whole, cut))
        trained = np.zeros(cut.n_items, int)
        for row, left in zip(before, after, strict=True):
            assert left["items"][left["train_end"] :] == row["items"][row["train_end"] :]
            train = left["items"][: left["train_end"]]
            assert len(train) <= changes.get("history_max", 99)
            np.add.at(trained, train, 1)
        if repeats != "all":
            assert trained.max() <= changes.get("item_max", 999)
        assert cut.items["train_count"].to_pylist() == trained.tolist()
        assert whole.counts["train"] > cut.counts["train"] == trained.sum()
        assert whole.counts["test"] == cut.counts["test"] and whole.counts["valid"] == cut.counts["valid"]
        dropped = cut.counts["dropped"]
        assert all(dropped[name] > 0 for name in changes)
        folded = cut.counts["repeats"] if repeats == "weight" else 0
        assert cut.counts["rows"] == cut.counts["interactions"] + folded + sum(dropped.values())
