"""The metrics equal their definitions, written out user by user, and keep the laws that follow from them."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.metrics import METRICS, per_user

KS = [1, 3, 5, 10, 20]


@st.composite
def targets(draw):
    """Rows of (user, rank): a user's targets that are found stand at distinct ranks."""
    users, ranks = [], []
    for user in draw(st.sets(st.integers(0, 50), max_size=8)):
        found = draw(st.sets(st.integers(1, 30), max_size=4))
        missed = draw(st.integers(0 if found else 1, 3))
        users += [user] * (len(found) + missed)
        ranks += [*found, *[0] * missed]
    order = draw(st.permutations(range(len(users))))
    return np.array(users, np.int32)[list(order)], np.array(ranks, np.int32)[list(order)]


def by_definition(ranks: list[int], k: int) -> list[float]:
    found = sorted(rank for rank in ranks if 1 <= rank <= k)
    dcg = sum(1 / math.log2(rank + 1) for rank in found)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(ranks), k) + 1))
    return [len(found) / len(ranks), float(bool(found)), dcg / ideal, 1 / found[0] if found else 0.0]


@given(targets())
def test_equals_the_definition_written_out(table):
    users, ranks = table
    codes, values = per_user(users, ranks, KS)
    assert codes.tolist() == sorted(set(users.tolist()))
    assert values.shape == (len(codes), len(METRICS), len(KS))
    for at, user in enumerate(codes):
        own = ranks[users == user].tolist()
        expected = np.array([by_definition(own, k) for k in KS]).T
        np.testing.assert_allclose(values[at], expected, atol=1e-12)


@given(targets())
def test_values_are_shares_and_all_but_ndcg_grow_with_k(table):
    _, values = per_user(*table, KS)
    assert (values >= 0).all() and (values <= 1 + 1e-12).all()
    growing = values[:, [METRICS.index(name) for name in ("recall", "hit", "mrr")]]
    assert (np.diff(growing, axis=2) >= -1e-12).all()


@given(targets(), st.integers(0, 50))
def test_parts_of_the_users_put_together_are_the_whole(table, cut):
    users, ranks = table
    codes, values = per_user(users, ranks, KS)
    parts = [per_user(users[part], ranks[part], KS) for part in (users < cut, users >= cut)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), codes)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), values)


def test_a_single_target_at_rank_two():
    _, values = per_user(np.array([9]), np.array([2]), [1, 2])
    np.testing.assert_allclose(values[0], [[0, 1], [0, 1], [0, 1 / math.log2(3)], [0, 0.5]])
