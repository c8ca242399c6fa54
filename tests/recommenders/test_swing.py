"""Swing equals the formula written out, weights included, in one block or many."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_matrix

from app.recommenders import swing as module
from app.recommenders.swing import swing, swing_block

ratings = arrays.arrays(
    np.float32,
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    elements=st.sampled_from([0.0, 0.0, 1.0, 0.3, 0.75]),
)


def by_dicts(rows: np.ndarray, alpha: float, user_weight: float) -> np.ndarray:
    """Papers 5.1 over dictionaries and pairs, for twins."""
    taken = [{i: float(r) for i, r in enumerate(row) if r > 0} for row in rows]
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    for first, second in combinations([own for own in taken if own], 2):
        common = set(first) & set(second)
        weight = (sum(first.values()) * sum(second.values())) ** -user_weight
        overlap = sum(first[i] * second[i] for i in common)
        for i in common:
            for j in common - {i}:
                sums[i, j] += weight * first[i] * first[j] * second[i] * second[j] / (alpha + overlap)
    return sums


def test_the_worked_example() -> None:
    """Pairs of users that share 4, 2 and 2 items give 1/5 + 1/3 + 1/3 = 13/15 (alpha 1, basic form)."""
    rows = np.zeros((3, 6))
    rows[0, [0, 1, 2, 3]] = rows[1, [0, 1, 2, 3]] = rows[2, [0, 1, 4]] = 1
    found = swing(csr_matrix(rows), alpha=1.0, user_weight=0.0, neighbours=6)
    assert found[0, 1] == pytest.approx(13 / 15) and found[1, 0] == pytest.approx(13 / 15)
    assert found[0, 4] == 0, "one common user is no pair of users"


@settings(max_examples=200)
@given(ratings, st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_equals_its_twin(rows: np.ndarray, alpha: float, user_weight: float) -> None:
    found = swing(csr_matrix(rows), alpha, user_weight, neighbours=rows.shape[1]).toarray()
    np.testing.assert_allclose(found, by_dicts(rows, alpha, user_weight), rtol=1e-5, atol=1e-7)


@settings(max_examples=100)
@given(ratings, st.integers(1, 5))
def test_blocks_together_are_the_whole(rows: np.ndarray, blocks: int) -> None:
    matrix, n_items = csr_matrix(rows), rows.shape[1]
    whole = swing(matrix, 1.0, 0.5, n_items).toarray()
    for block in range(min(blocks, n_items)):
        part = np.arange(block, n_items, blocks)
        np.testing.assert_allclose(
            swing_block(part, matrix, 1.0, 0.5, n_items).toarray(), whole[part], rtol=1e-5
        )


def test_small_blocks_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (30, 13)).astype(np.float32)
    whole = swing(csr_matrix(rows), 1.0, 0.5, 13).toarray()
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 13 * 4)
    np.testing.assert_allclose(swing(csr_matrix(rows), 1.0, 0.5, 13).toarray(), whole, rtol=1e-5)


def test_ray_tasks_give_the_same(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (30, 13)).astype(np.float32)
    whole = swing(csr_matrix(rows), 1.0, 0.5, 13).toarray()
    monkeypatch.setattr(module, "RAY_TASKS_FROM", 1)
    monkeypatch.setattr(module, "_ray_cpus", lambda: 2)
    np.testing.assert_allclose(swing(csr_matrix(rows), 1.0, 0.5, 13).toarray(), whole, rtol=1e-5)


@given(ratings, st.data())
def test_an_interaction_of_vanishing_weight_is_as_good_as_removed(
    rows: np.ndarray, data: st.DataObject
) -> None:
    """Taken alone, and however much the rest weighs: the limit of a weight of 0 is no interaction."""
    user, item = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, rows.shape[1] - 1))
    tiny, removed = rows.copy(), rows.copy()
    tiny[user, item], removed[user, item] = 1e-8, 0
    n_items = rows.shape[1]
    found, expected = (swing(csr_matrix(r), 1.0, 0.5, n_items).toarray() for r in (tiny, removed))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_only_the_nearest_neighbours_are_kept() -> None:
    rows = np.random.default_rng(1).integers(0, 2, (40, 20)).astype(np.float32)
    whole, few = (swing(csr_matrix(rows), 1.0, 0.5, k).toarray() for k in (20, 3))
    for all_of, kept in zip(whole, few, strict=True):
        best = np.argsort(-all_of, kind="stable")[:3]
        assert set(np.flatnonzero(kept)) == set(best)
        np.testing.assert_array_equal(kept[best], all_of[best])


def test_repeated_runs_are_equal_to_the_bit() -> None:
    rows = csr_matrix(np.random.default_rng(2).integers(0, 2, (40, 20)).astype(np.float32))
    assert (swing(rows, 1.0, 0.5, 5) != swing(rows, 1.0, 0.5, 5)).nnz == 0
