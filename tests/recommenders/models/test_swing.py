"""Swing equals the formula written out: weights, offset and caps included, in one block or many, dense or sparse."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.sparse import csr_matrix

from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models import swing as module
from longtail.recommenders.models.swing import Swing, capped, swing, swing_block
from longtail.recommenders.models.swing import SwingSection as Section
from longtail.recommenders.models.swing_log import Formula
from longtail.recommenders.training.compute import Compute
from tests.recommenders.conftest import clusters, interactions

BASIC = Formula(alpha=1.0, user_weight=0.0)

ratings = st.one_of(
    arrays.arrays(  # few users who share much
        np.float32,
        st.tuples(st.integers(2, 7), st.integers(2, 7)),
        elements=st.sampled_from([0.0, 0.0, 1.0, 0.3, 0.75]),
    ),
    arrays.arrays(  # more users who mostly share one item or none, so that both ways of the kernel are met
        np.float32,
        st.tuples(st.integers(8, 16), st.integers(6, 20)),
        elements=st.sampled_from([0.0] * 6 + [1.0, 0.3]),
    ),
)
formulas = st.builds(
    Formula,
    alpha=st.sampled_from([0.0, 1.0, 5.0]),
    user_weight=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    user_offset=st.sampled_from([0.0, 0.0, 15.0]),
)


def by_dicts(rows: np.ndarray, formula: Formula) -> np.ndarray:
    """Papers 5.1 over dictionaries and pairs, for twins."""
    taken = [{i: float(r) for i, r in enumerate(row) if r > 0} for row in rows]
    sums = np.zeros((rows.shape[1], rows.shape[1]))
    for first, second in combinations([own for own in taken if own], 2):
        common = set(first) & set(second)
        lengths = [formula.user_offset + sum(own.values()) for own in (first, second)]
        weight = (lengths[0] * lengths[1]) ** -formula.user_weight
        overlap = sum(first[i] * second[i] for i in common)
        for i in common:
            for j in common - {i}:
                shared = first[i] * first[j] * second[i] * second[j]
                sums[i, j] += weight * shared / (formula.alpha + overlap)
    return sums


def dense(rows: np.ndarray, formula: Formula = BASIC, neighbours: int | None = None) -> np.ndarray:
    return swing(csr_matrix(rows), formula, neighbours or rows.shape[1]).toarray()


def random_rows(users: int = 30, items: int = 13, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (users, items)).astype(np.float32)


def test_the_worked_example() -> None:
    """Pairs of users that share 4, 2 and 2 items give 1/5 + 1/3 + 1/3 = 13/15 (alpha 1, basic form)."""
    rows = np.zeros((3, 6))
    rows[0, [0, 1, 2, 3]] = rows[1, [0, 1, 2, 3]] = rows[2, [0, 1, 4]] = 1
    found = dense(rows)
    assert found[0, 1] == pytest.approx(13 / 15) and found[1, 0] == pytest.approx(13 / 15)
    assert found[0, 4] == 0, "one common user is no pair of users"


def test_the_form_of_flink_ml() -> None:
    """w_u = 1 / (15 + |I_u|)^0.3 and alpha 0: two users of three items each who share two."""
    rows = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], np.float32)
    found = dense(rows, Formula(alpha=0.0, user_weight=0.3, user_offset=15.0))
    assert found[0, 1] == pytest.approx(18**-0.6 / 2, rel=1e-6)


@settings(max_examples=300)
@given(ratings, formulas)
def test_equals_its_twin(rows: np.ndarray, formula: Formula) -> None:
    np.testing.assert_allclose(dense(rows, formula), by_dicts(rows, formula), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("share", "users", "items"), [(0.4, 70, 60), (0.02, 300, 150)])
def test_equals_its_twin_where_tiles_and_partners_are_many(share: float, users: int, items: int) -> None:
    """Lists longer than a register and more users than a tile, then users who rarely share two items."""
    rng = np.random.default_rng(3)
    rows = ((rng.random((users, items)) < share) * rng.choice([1.0, 0.3], (users, items))).astype(np.float32)
    formula = Formula(1.0, 0.5, 2.0)
    np.testing.assert_allclose(dense(rows, formula), by_dicts(rows, formula), rtol=2e-6, atol=1e-6)


def test_more_users_than_one_array_of_marks_lasts() -> None:
    """The marks are cleared after some users; none of the users before may be met again."""
    rng = np.random.default_rng(4)
    rows = np.zeros((700, 200), np.float32)
    for row in rows:
        row[rng.choice(200, 4, replace=False)] = 1
    np.testing.assert_allclose(dense(rows), by_dicts(rows, BASIC), rtol=1e-6, atol=1e-6)


@settings(max_examples=100)
@given(ratings, st.integers(1, 5))
def test_blocks_together_are_the_whole(rows: np.ndarray, blocks: int) -> None:
    matrix, n_items, formula = csr_matrix(rows), rows.shape[1], Formula()
    whole = swing(matrix, formula, n_items).toarray()
    for block in range(min(blocks, n_items)):
        part = np.arange(block, n_items, blocks)
        found = swing_block(part, matrix, formula, n_items).toarray()
        np.testing.assert_allclose(found, whole[part], rtol=1e-5, atol=1e-12)


def test_small_blocks_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dense(random_rows())
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    np.testing.assert_allclose(dense(random_rows()), whole, rtol=1e-5)


def test_threads_change_no_bit() -> None:
    rows = csr_matrix(random_rows(200, 40))
    one, four = (swing(rows, Formula(), 5, threads=n) for n in (1, 4))
    assert (one != four).nnz == 0


def test_ray_tasks_give_the_same(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = dense(random_rows())
    monkeypatch.setattr(module, "RAY_TASKS_FROM", 1)
    monkeypatch.setattr(module, "_ray_cpus", lambda: 2)
    np.testing.assert_allclose(dense(random_rows()), whole, rtol=1e-5)


@given(ratings, st.data())
def test_an_interaction_of_vanishing_weight_is_as_good_as_removed(
    rows: np.ndarray, data: st.DataObject
) -> None:
    """Taken alone, and however much the rest weighs: the limit of a weight of 0 is no interaction."""
    user, item = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, rows.shape[1] - 1))
    tiny, removed = rows.copy(), rows.copy()
    tiny[user, item], removed[user, item] = 1e-8, 0
    found, expected = (dense(r, Formula()) for r in (tiny, removed))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(ratings, formulas)
def test_similarity_is_symmetric_and_never_of_an_item_to_itself(rows: np.ndarray, formula: Formula) -> None:
    found = dense(rows, formula)
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()


@settings(max_examples=50)
@given(ratings, st.randoms())
def test_names_of_users_and_items_do_not_matter(rows: np.ndarray, random: object) -> None:
    users, items = list(range(len(rows))), list(range(rows.shape[1]))
    random.shuffle(users)
    random.shuffle(items)
    np.testing.assert_allclose(dense(rows[users][:, items]), dense(rows)[items][:, items], rtol=1e-5)


def test_only_the_nearest_neighbours_are_kept_best_first() -> None:
    rows = random_rows(40, 20, seed=1)
    whole, few = dense(rows), swing(csr_matrix(rows), BASIC, 3)
    for item, all_of in enumerate(whole):
        best = np.lexsort((np.arange(20), -all_of))[:3]
        own = slice(few.indptr[item], few.indptr[item + 1])
        np.testing.assert_array_equal(few.indices[own], best)
        np.testing.assert_array_equal(few.data[own], all_of[best])


def test_more_neighbours_than_items() -> None:
    np.testing.assert_array_equal(dense(random_rows(), neighbours=1000), dense(random_rows()))


def test_repeated_runs_are_equal_to_the_bit() -> None:
    rows = csr_matrix(random_rows(40, 20, seed=2))
    assert (swing(rows, Formula(), 5) != swing(rows, Formula(), 5)).nnz == 0


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.eye(4), np.zeros((0, 3)), np.ones((1, 3))])
def test_nobody_shares_two_items(rows: np.ndarray) -> None:
    """Items without users, users without items, no user at all, one user alone."""
    assert dense(rows).shape == (rows.shape[1],) * 2 and not dense(rows).any()


def test_a_repeated_item_counts_once() -> None:
    once, twice = interactions([[0, 1], [0, 1]], 3), interactions([[0, 1, 0], [1, 0, 1]], 3)
    found = [Swing("swing", Section()).fit(train).similarity.toarray() for train in (once, twice)]
    np.testing.assert_array_equal(found[0], found[1])


def test_without_caps_nothing_is_left_out() -> None:
    kept, left_out = capped(clusters(), None, None, seed=0)
    assert (kept != clusters().matrix).nnz == 0 and left_out == {}


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 5))
def test_caps_keep_the_latest_items_and_a_sample_of_the_users(items: int, users: int, seed: int) -> None:
    train = clusters()
    kept, left_out = capped(train, users, items, seed)
    latest, without_users = capped(train, None, items, seed)
    for user in range(train.n_users):
        own = train.items[train.indptr[user] : train.indptr[user + 1]]
        assert set(latest[user].indices) == set(own[-items:])
    counts = np.bincount(latest.indices, minlength=24)
    np.testing.assert_array_equal(np.bincount(kept.indices, minlength=24), np.minimum(counts, users))
    assert kept.multiply(latest.astype(bool)).nnz == kept.nnz, "a sample of what was there"
    assert left_out["items over max_users"] == (counts > users).sum()
    assert left_out["users over max_items"] == (train.matrix.getnnz(axis=1) > items).sum()
    assert left_out["interactions dropped"] == train.matrix.nnz - kept.nnz
    assert without_users["interactions dropped"] == train.matrix.nnz - latest.nnz


def test_the_sample_depends_on_the_seed_alone() -> None:
    first, again, other = (capped(clusters(), 5, None, seed)[0] for seed in (0, 0, 1))
    assert (first != again).nnz == 0 and (first != other).nnz > 0


def test_caps_are_the_formula_on_what_they_keep_and_are_told() -> None:
    said: list[str] = []
    section = Section(max_users=6, max_items=5, neighbours=24)
    model = Swing("swing", section, seed=3, compute=Compute(say=said.append)).fit(clusters())
    kept = capped(clusters(), 6, 5, seed=3)[0].toarray()
    np.testing.assert_allclose(model.similarity.toarray(), by_dicts(kept, Formula()), rtol=1e-5, atol=1e-7)
    assert model.counts["interactions dropped"] == clusters().matrix.nnz - np.count_nonzero(kept)
    assert len(said) == 1 and f"{model.counts['interactions dropped']} interactions dropped" in said[0]


def test_an_empty_training_set() -> None:
    empty = Interactions(
        np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(2, np.int64), 4
    )
    model = Swing("swing", Section()).fit(empty)
    assert (model.recommend(np.arange(2), 3)[0] == -1).all()
