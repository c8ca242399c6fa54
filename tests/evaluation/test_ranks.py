"""Every held-out item gets the rank that it has in its user's own list, whatever the blocks, parts and files."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.evaluation import sampled_ranks as sampled
from longtail.evaluation import targets
from longtail.evaluation.ranks import Protocol, Ranked, rank_all, rank_part, rank_targets
from longtail.evaluation.sampled_ranks import draw_negatives, sampled_ranks
from longtail.evaluation.targets import split_parts
from longtail.recommenders.interactions import Histories
from longtail.workspace import Workspace


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
    """Recommends items by ascending code, the observed training items left out; -code is the score."""

    name = "fewest"

    def __init__(self, train: list[list[int]], n_items: int) -> None:
        self.seen, self.n_items = Histories.of([np.array(items, np.int32) for items in train]), n_items

    def recommend(self, users, k):
        lists = np.full((len(users), k), -1, np.int32)
        for row, user in enumerate(users):
            own = self.seen.take(np.array([user])).items
            left = [item for item in range(self.n_items) if item not in own][:k]
            lists[row, : len(left)] = left
        return lists, np.zeros(lists.shape, np.float32)

    def score_pairs(self, histories, users, candidates):
        return -candidates.astype(np.float32)


@pytest.fixture
def store(tmp_path, monkeypatch, write_data):
    """Histories, cuts, the published data, a model of 15 items; parts of at least 5 users, blocks of 3."""
    monkeypatch.setattr(targets, "USERS_AT_ONCE", 3)
    monkeypatch.setattr(targets, "USERS_PER_PART", 5)
    rng = np.random.default_rng(4)
    histories, cuts = [], []
    for user in range(17):
        items = rng.permutation(15)[: 4 + user % 6].tolist()
        train_end = int(rng.integers(1, len(items)))
        histories.append(items)
        cuts.append((train_end, int(rng.integers(train_end, len(items) + 1))))
    data = write_data(Workspace(str(tmp_path)), histories, cuts, n_items=15)
    train = [items[: cut[0]] for items, cut in zip(histories, cuts, strict=True)]
    return histories, cuts, data, FewestFirst(train, 15)


@pytest.mark.parametrize("held_out", ["test", "valid"])
def test_a_whole_store_in_parts_and_blocks(store, tmp_path, held_out):
    histories, cuts, data, model = store
    out = (Workspace(str(tmp_path)) / "out").make_folder()
    counts = rank_all(model, data, out, depth=10, held_out=held_out)

    expected, exposure = {}, np.zeros(15, int)
    for user, (items, (train_end, valid_end)) in enumerate(zip(histories, cuts, strict=True)):
        own = items[valid_end:] if held_out == "test" else items[train_end:valid_end]
        if own:
            order = [item for item in range(15) if item not in items[:train_end]][:10]
            exposure[order] += 1
            for item in own:
                expected[user, item] = (order.index(item) + 1 if item in order else 0, len(own))
    rows = (out / "ranks").read_table().to_pylist()
    assert {(row["user"], row["item"]): (row["rank"], row["targets"]) for row in rows} == expected
    assert len(rows) == len(expected) == counts["targets"]
    assert all(row["sampled_rank"] is None for row in rows)
    assert counts["users"] == len({user for user, _ in expected})
    assert (out / "exposure.parquet").read_table()["count"].to_pylist() == exposure.tolist()


def test_parts_have_every_user_once_and_add_up_in_any_order(store, tmp_path):
    _, _, data, model = store
    parts = split_parts(data)
    assert len(parts) == 2 and len({part.name for part in parts}) == 2
    protocol, out = Protocol(depth=10, negatives=4), Workspace(str(tmp_path))
    whole = rank_all(model, data, (out / "whole").make_folder(), depth=10)
    found = [rank_part(model, part, out / "parts", protocol) for part in parts]
    for order in (found, found[::-1]):
        total = sum(order, Ranked.none(15))
        assert total.counts == whole
        exposure = (out / "whole" / "exposure.parquet").read_table()["count"]
        assert total.exposure.tolist() == exposure.to_pylist()
    tables = [(out / place / "ranks").read_table().drop(["sampled_rank"]) for place in ("whole", "parts")]
    assert tables[0].equals(tables[1])


def test_lists_are_never_longer_than_the_catalogue(store, tmp_path):
    _, _, data, model = store
    out = (Workspace(str(tmp_path)) / "out").make_folder()
    asked = []
    model.recommend = lambda users, k: (asked.append(k), FewestFirst.recommend(model, users, k))[1]
    rank_all(model, data, out, depth=10**9)
    assert set(asked) == {15}


def test_another_catalogue_than_that_of_the_fit_is_named(store, tmp_path):
    _, _, data, model = store
    model.n_items = 14
    with pytest.raises(InputError, match="fitted on 14 items, the catalogue now has 15.*longtail train"):
        rank_all(model, data, Workspace(str(tmp_path)) / "out", depth=5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_negatives_are_never_of_the_history_nor_the_target(seed, n_items):
    rng = np.random.default_rng(seed)
    seen = Histories.of([rng.integers(0, n_items, rng.integers(0, 8)) for _ in range(5)])
    users, wanted = np.arange(5) + 7, rng.integers(0, n_items, 5)
    drawn = draw_negatives(seen, users, wanted, n_items, 6, seed)
    for row in range(5):
        excluded = {*seen.items[seen.indptr[row] : seen.indptr[row + 1]], wanted[row]}
        allowed = set(range(n_items)) - excluded or {wanted[row]}
        assert set(drawn[row]) <= allowed
    order = rng.permutation(5)
    again = draw_negatives(seen.take(order), users[order], wanted[order], n_items, 6, seed)
    np.testing.assert_array_equal(again, drawn[order])


def test_negatives_are_uniform_and_differ_by_seed_user_and_target():
    seen = Histories.of([np.array([2, 5, 2]), np.array([0])])
    users, wanted = np.array([0, 1]), np.array([1, 1])
    drawn = draw_negatives(seen, users, wanted, 8, 30_000, seed=3)
    for row, allowed in enumerate(([0, 3, 4, 6, 7], [2, 3, 4, 5, 6, 7])):
        shares = Counter(drawn[row].tolist())
        assert sorted(shares) == allowed
        np.testing.assert_allclose([shares[item] / 30_000 for item in allowed], 1 / len(allowed), atol=0.012)
    others = [(seen, users, wanted, 4), (seen, users + 1, wanted, 3), (seen, users, np.array([6, 6]), 3)]
    for history, codes, items, seed in others:
        other = draw_negatives(history, codes, items, 8, 30_000, seed=seed)
        assert (other != drawn).mean() > 0.7


def test_sampled_ranks_count_negatives_that_are_not_worse(store, monkeypatch):
    *_, model = store
    monkeypatch.setattr(sampled, "TARGETS_AT_ONCE", 4)
    users, wanted = np.arange(17), np.random.default_rng(0).integers(0, 15, 17)
    ranks = sampled_ranks(model, users, wanted, 9, seed=5)
    drawn = draw_negatives(model.seen, users, wanted, 15, 9, seed=5)
    assert ranks.tolist() == (1 + (drawn < wanted[:, None]).sum(axis=1)).tolist()

    model.score_pairs = lambda histories, users, candidates: np.full(candidates.shape, -np.inf)
    assert (sampled_ranks(model, users, wanted, 9, seed=5) == 10).all(), (
        "who tells nothing apart finds nothing"
    )
