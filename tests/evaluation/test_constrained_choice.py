"""Nothing is chosen that loses a slice: hand-made tables, and what holds for any of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from longtail.evaluation.constrained_choice import (
    Change,
    Changes,
    K,
    best_within,
    cost_in_words,
    lost,
    ndcg_by_slice,
    shortfall,
)
from longtail.evaluation.slices import Membership
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Constraint
from longtail.workspace import Workspace

DEFAULT = Constraint()


def changes(tail: float, sparse: float, error: float = 0.01) -> list[Change]:
    return [Change("tail", 50, tail, error), Change("sparse", 80, sparse, error)]


TABLE = [  # NDCG@10 of all users, and the changes of the slices
    (0.30, changes(-0.05, 0.02)),  # the best, but it loses the tail
    (0.29, changes(0.03, -0.011)),  # loses the sparse users by a little more than one standard error
    (0.25, changes(-0.009, 0.00)),  # lower on the tail, within one standard error
    (0.25, changes(0.04, 0.04)),  # as good for all users, but later
    (0.20, changes(0.01, 0.01)),
]


def chosen(table: list[tuple[float, list[Change]]], constraint: Constraint) -> int | None:
    return best_within([aim for aim, _ in table], [shortfall(own, constraint) for _, own in table])


def test_the_best_of_all_users_is_refused_if_it_loses_the_tail() -> None:
    assert chosen(TABLE, DEFAULT) == 2, "the first of equals that lose nothing"
    assert [lost(own, DEFAULT) for _, own in TABLE] == [["tail"], ["sparse"], [], [], []]
    assert chosen(TABLE, Constraint(within_se=0)) == 3, "not even within an error"
    assert chosen(TABLE, Constraint(slices=["sparse"])) == 0
    assert chosen(TABLE, Constraint(slices=["tail"])) == 1
    assert chosen(TABLE, Constraint(within_se=1.1)) == 1, "-0.011 is within 1.1 × 0.01"


def test_if_every_candidate_loses_a_slice_none_is_chosen() -> None:
    assert chosen(TABLE[:2], DEFAULT) is None and chosen([], DEFAULT) is None


def test_switched_off_it_chooses_the_best_of_all_users() -> None:
    off = Constraint(slices=[])
    assert chosen(TABLE, off) == 0 and not any(lost(own, off) for _, own in TABLE)


numbers = st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 2))
tables = st.lists(
    st.tuples(numbers, st.builds(changes, numbers, numbers, st.sampled_from([0.0, 0.1, 0.5]))), max_size=12
)


@given(tables, st.sampled_from([[], ["tail"], ["sparse"], ["tail", "sparse"]]), st.sampled_from([0, 1, 2]))
def test_what_is_chosen_is_feasible_if_anything_is_and_no_feasible_one_is_better(table, slices, within):
    constraint = Constraint(slices=slices, within_se=within)
    feasible = [
        number
        for number, (_, own) in enumerate(table)
        if all(one.difference + within * one.error >= -1e-9 for one in own if one.slice in constraint.slices)
    ]
    found = chosen(table, constraint)
    assert (found is None) == (not feasible)
    if feasible:
        aims = [aim for aim, _ in table]
        highest = max(aims[number] for number in feasible)
        assert found == next(number for number in feasible if aims[number] == highest)
    if not slices and table:
        aims = np.array([aim for aim, _ in table])
        assert found == aims.argmax(), "as if there were no constraint"


@given(st.data())
def test_one_product_gives_every_slice_the_metric_of_its_users(data: st.DataObject) -> None:
    targets, n = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    users = rng.integers(0, 8, targets)
    inside = rng.random((targets, 3)) < rng.random(3)
    ranks = rng.integers(0, K + 5, (targets, n))
    found = ndcg_by_slice(users, inside, ranks)
    assert len(found) == 3
    for own, which in zip(found, inside.T, strict=True):
        for column in range(n):
            _, values = per_user(users[which], ranks[which, column], [K])
            assert own[:, column] == pytest.approx(values[:, METRICS.index("ndcg"), 0])
    assert ndcg_by_slice(users, inside[:, :0], ranks) == []


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_the_error_is_that_of_the_paired_differences_and_parts_are_added(cut: int) -> None:
    rng = np.random.default_rng(2)
    differences = rng.normal(size=(40, 1, 3))
    parts = [{"tail": own, "sparse": own[:0]} for own in (differences[:cut], differences[cut:])]
    found = Changes() + Changes.of(parts[0]) + Changes.of(parts[1])
    for number in range(3):
        tail, sparse = found.of_candidate(number)
        assert (tail.slice, tail.users, sparse.users) == ("tail", 40, 0)
        assert tail.difference == pytest.approx(differences[:, 0, number].mean())
        assert tail.error == pytest.approx(sem(differences[:, 0, number]))
        assert sparse.shortfall(0) == 0, "a slice without users loses nothing"


def test_one_user_has_no_error_and_pairs_add_theirs() -> None:
    (alone,) = Changes.of({"tail": np.array([[[-0.1]]])}).of_candidate(0)
    assert alone.error == 0 and alone.shortfall(1) == pytest.approx(0.1)
    values = np.random.default_rng(1).normal(size=(30, 1, 1)) + np.array([-1.0, 0, 1])[:, None]
    (crossed,) = Changes.of({"tail": values}).of_candidate(0)
    assert crossed.error > sem(values.mean(axis=1)[:, 0]), "another generator would be another figure"


def test_a_target_is_in_a_slice_by_its_user_or_its_item(tmp_path, write_data) -> None:
    histories = [[0, 1, 2, 3, 4], [0, 1, 2], [0, 5, 1, 2]]
    data = write_data(Workspace(str(tmp_path)), histories, [(3, 4), (1, 2), (2, 3)], 6)
    found = Membership.read(["sparse", "tail", "head", "all"], data)
    inside = found.of(np.array([0, 1, 2, 0]), np.array([5, 0, 4, 4]))
    assert inside.T.tolist() == [
        [False, True, True, False],
        [True, False, False, False],
        [False] * 4,
        [True] * 4,
    ]


def test_the_words_say_the_cost() -> None:
    text = cost_in_words(DEFAULT, 0.1234, 0.12)
    assert text.startswith(
        "The constraint that tail and sparse must not lose cost 0.0034 NDCG@10 of all users"
    )
    assert "cost nothing" in cost_in_words(DEFAULT, 0.12, 0.12)
