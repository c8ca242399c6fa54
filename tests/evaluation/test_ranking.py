"""Every held-out item gets the rank that it has in its user's own list, whatever the blocks and files."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation import ranking
from app.evaluation.lists import entries_from
from app.evaluation.ranking import rank_all, rank_targets
from app.workspace import Workspace


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=5), st.integers(0, 6)), max_size=8),
    st.integers(0, 3),
)
def test_entries_of_lists_also_of_a_slice_of_a_table(rows, skipped):
    lists = pa.array([values for values, _ in rows], pa.list_(pa.int32())).slice(skipped)
    starts = np.array([start for _, start in rows], np.int32)[skipped:]
    found_rows, values = entries_from(lists, starts)
    expected = [(row, value) for row, (own, start) in enumerate(rows[skipped:]) for value in own[start:]]
    assert list(zip(found_rows.tolist(), values.tolist(), strict=True)) == expected


@given(st.integers(0, 2**32 - 1))
def test_ranks_equal_a_search_by_hand(seed):
    rng = np.random.default_rng(seed)
    lists = np.stack([rng.permutation(12)[:5] for _ in range(6)])
    lists[rng.random(lists.shape) < 0.2] = -1
    rows, targets = rng.integers(0, 6, 20), rng.integers(0, 12, 20)
    expected = [
        lists[row].tolist().index(target) + 1 if target in lists[row] else 0
        for row, target in zip(rows, targets, strict=True)
    ]
    assert rank_targets(lists, rows, targets).tolist() == expected


class FewestFirst:
    """Recommends items by ascending code, the observed training items left out."""

    def __init__(self, train: list[list[int]], n_items: int) -> None:
        self.train, self.n_items = train, n_items

    def recommend(self, users, k, *, exclude_seen=True):
        lists = np.full((len(users), k), -1, np.int32)
        for row, user in enumerate(users):
            left = [item for item in range(self.n_items) if item not in self.train[user]][:k]
            lists[row, : len(left)] = left
        return lists, np.zeros(lists.shape, np.float32)


def test_a_whole_store_in_blocks(tmp_path, monkeypatch, write_data):
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 3)
    rng = np.random.default_rng(4)
    histories, cuts = [], []
    for user in range(17):
        items = rng.permutation(15)[: 4 + user % 6].tolist()
        train_end = int(rng.integers(1, len(items)))
        histories.append(items)
        cuts.append((train_end, int(rng.integers(train_end, len(items) + 1))))
    ws = Workspace(str(tmp_path))
    data = write_data(ws, histories, cuts, n_items=15)
    recommender = FewestFirst([items[: cut[0]] for items, cut in zip(histories, cuts, strict=True)], 15)
    counts = rank_all(recommender, data, (ws / "out").make_folder(), depth=10)

    expected, exposure = {}, np.zeros(15, int)
    for user, (items, (train_end, valid_end)) in enumerate(zip(histories, cuts, strict=True)):
        if valid_end < len(items):
            order = [item for item in range(15) if item not in items[:train_end]][:10]
            exposure[order] += 1
            for item in items[valid_end:]:
                rank = order.index(item) + 1 if item in order else 0
                expected[user, item] = (rank, len(items) - valid_end)
    rows = (ws / "out" / "ranks.parquet").read_table().to_pylist()
    assert {(row["user"], row["item"]): (row["rank"], row["targets"]) for row in rows} == expected
    assert len(rows) == len(expected) == counts["targets"]
    assert counts["users"] == len({user for user, _ in expected})
    assert (ws / "out" / "exposure.parquet").read_table()["count"].to_pylist() == exposure.tolist()
