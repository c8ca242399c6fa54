"""The aggregator keeps the paper's bounds and limits, whatever the users and lists, and many users rank as each alone."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longtail.aggregation.formulas import (
    BUCKETS,
    Sparsity,
    Union,
    long_tail_coefficient,
    places,
    rank_utility,
    score_utility,
)
from longtail.aggregation.kinds import Paper, Uniform

shares = st.floats(0, 1)
lists = st.lists(st.integers(0, 40), unique=True, max_size=15)
kinds = st.sampled_from(["rank", "score"])


training = st.lists(st.integers(0, 500), min_size=1, max_size=30).map(np.array)
papers = st.builds(Paper, shares, shares)


@st.composite
def scored(draw: st.DrawFn, lowest: int = 0) -> tuple[list[int], list[float]]:
    """A list of items and its falling scores, quarters: exact in float32."""
    items = draw(lists)
    scores = st.lists(st.integers(lowest, 40), min_size=len(items), max_size=len(items))
    return items, [score / 4 for score in sorted(draw(scores), reverse=True)]


def batch(rows: list[tuple[list[int], list[float]]], rng: np.random.Generator | None = None):
    """Arrays [n, k] from lists; with `rng`, places without an item stand anywhere."""
    width = max((len(items) for items, _ in rows), default=0) + (3 if rng else 0)
    found, values = (
        np.full((len(rows), width), -1, np.int32),
        np.full((len(rows), width), -np.inf, np.float32),
    )
    for row, (items, scores) in enumerate(rows):
        columns = np.sort(rng.permutation(width)[: len(items)]) if rng else np.arange(len(items))
        found[row, columns], values[row, columns] = items, scores
    return found, values


def fused(recommender: list[int], llm: list[int], alpha: float) -> tuple[list[int], list[float]]:
    """Items and utilities of one user, by places."""
    union = Union.of(batch([(recommender, [1.0] * len(recommender))]), batch([(llm, [1.0] * len(llm))]))
    utility = Uniform(alpha, "rank").final_utility(union, np.array([alpha]))
    (best,) = union.best(utility, 99)
    best = best[union.items[0, best] >= 0]
    return union.items[0, best].tolist(), utility[0, best].tolist()


def by_hand(recommender, llm, alpha: float, of_list: str) -> tuple[list[int], dict[int, float]]:
    """The order of one user and the utility of each item, in plain Python."""
    (first, first_scores), (second, second_scores) = recommender, llm

    def share(items: list[int], scores: list[float]) -> dict[int, float]:
        raised = [score - min(0, *scores, 0) for score in scores]
        return {
            item: score / max(raised) for item, score in zip(items, raised, strict=True) if max(raised) > 0
        }

    last = max(len(first), len(second)) + 1
    shares_of = share(first, first_scores), share(second, second_scores)

    def utility(item: int) -> float:
        if of_list == "score":
            u_rec, u_llm = (own.get(item, 0.0) for own in shares_of)
        else:
            u_rec, u_llm = (-(own.index(item) + 1 if item in own else last) for own in (first, second))
        return alpha * u_llm + (1 - alpha) * u_rec

    union = first + [item for item in second if item not in first]
    return sorted(union, key=lambda item: -utility(item)), {item: utility(item) for item in union}


def test_by_hand() -> None:
    """alpha_1 = 0.5, alpha_2 = 0.3, users of 1 to 7 interactions: l = log 2 .. log 8, 3 lies halfway."""
    sparsity = Sparsity(1, 7, (1, 2, 3, 5))
    assert sparsity.of(np.array([0, 1, 3, 7, 9])) == pytest.approx([1, 1, 0.5, 0, 0])
    assert Paper(0.5, 0.3).alpha(np.array([1, 3, 7]), sparsity) == pytest.approx([0.5, 0.25, 0.15])
    assert float(long_tail_coefficient(np.array(7))) == pytest.approx(math.log(8))
    assert rank_utility(np.array([[1, 2, 0]]), np.array([5])).tolist() == [[-1, -2, -6]]
    # k' = 3: U(10) = -(1+4)/2, U(11) = -(2+4)/2, U(12) = -(3+1)/2, U(13) = -(4+2)/2; of 11 and 13,
    # which tie, 11 is the recommender's.
    assert fused([10, 11, 12], [12, 13], 0.5) == ([12, 10, 11, 13], [-2, -2.5, -3, -3])


def test_shares_of_the_largest_score() -> None:
    """Scores of any sign keep their order; an item that is not named has nothing, and so has a list of zeros."""
    scores = np.array([[4.0, 2, 0], [1, -1, -np.inf], [-1, -3, -5], [0, 0, 0]], np.float32)
    named = np.array([[True, True, False], [True, True, False], [True] * 3, [True] * 3])
    assert score_utility(scores, named).tolist() == [[1, 0.5, 0], [1, 0, 0], [1, 0.5, 0], [0, 0, 0]]


@given(papers, training, st.lists(st.integers(0, 2000), min_size=1, max_size=20))
def test_the_papers_alpha_is_bounded_and_never_rises_with_the_history(paper, trained, lengths) -> None:
    alpha = paper.alpha(np.sort(lengths), Sparsity.among(trained))
    assert np.all(alpha <= paper.alpha_1 + 1e-12) and np.all(alpha >= paper.alpha_1 * paper.alpha_2 - 1e-12)
    assert np.all(np.diff(alpha) <= 1e-12)


@given(papers, training)
def test_the_extremes_get_the_extremes(paper, trained) -> None:
    alphas = paper.alpha(np.array([trained.min(), trained.max() + 1, 0]), Sparsity.among(trained))
    assert alphas == pytest.approx([paper.alpha_1, paper.alpha_1 * paper.alpha_2, paper.alpha_1])


@given(papers, training, st.lists(st.integers(0, 2000), max_size=20))
def test_a_cut_off_of_one_is_the_same_weight_for_everybody(paper, trained, lengths) -> None:
    sparsity, asked = Sparsity.among(trained), np.array(lengths, np.int64)
    constant = Paper(paper.alpha_1, 1.0)
    assert np.array_equal(constant.alpha(asked, sparsity), Uniform(paper.alpha_1).alpha(asked, sparsity))


@given(training, st.lists(st.integers(0, 600), min_size=1, max_size=20))
def test_buckets_are_cut_at_quantiles_of_the_training_users(trained, lengths) -> None:
    """An edge is the smallest number of interactions that enough users do not exceed; a user on it is below it."""
    sparsity = Sparsity.among(trained)
    for number, edge in enumerate(sparsity.edges, start=1):
        share = number / BUCKETS - 1e-9
        assert np.mean(trained <= edge) >= share and np.mean(trained < edge) < share + 2e-9
    expected = [sum(edge < one for edge in sparsity.edges) for one in lengths]
    assert sparsity.bucket(np.array(lengths)).tolist() == expected


def test_buckets_by_hand() -> None:
    """Ten users; two of them have each of the smallest numbers."""
    sparsity = Sparsity.among(np.array([9, 3, 3, 4, 4, 5, 6, 7, 8, 100]))
    assert sparsity == Sparsity(3, 100, (3, 4, 6, 8))
    assert sparsity.bucket(np.array([1, 3, 4, 5, 6, 7, 8, 9, 999])).tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4]
    assert Sparsity.among(np.full(7, 5)).bucket(np.array([4, 5, 6])).tolist() == [0, 0, BUCKETS - 1]


@given(st.lists(st.tuples(scored(-20), scored(), shares), min_size=1, max_size=6), kinds, st.integers(0, 99))
def test_many_users_at_once_against_plain_python(rows, of_list, seed: int) -> None:
    """Also where places without an item stand between the items, as where one was masked."""
    rng = np.random.default_rng(seed)
    first, second, alphas = zip(*rows, strict=True)
    union = Union.of(batch(first, rng), batch(second, rng))
    utility = Uniform(0, of_list).final_utility(union, np.array(alphas))
    best = union.best(utility, 99)
    for row, (recommender, llm, alpha) in enumerate(rows):
        order, expected = by_hand(recommender, llm, alpha, of_list)
        columns = best[row][union.items[row, best[row]] >= 0]
        items = union.items[row, columns].tolist()
        assert sorted(items) == sorted(order)
        assert utility[row, columns] == pytest.approx([expected[item] for item in items])
        assert np.all(np.diff(utility[row, columns]) <= 0)
        for item, column in zip(items, columns, strict=True):
            for (own, scores), there, values in (
                (recommender, union.recommender_place, union.recommender_score),
                (llm, union.llm_place, union.llm_score),
            ):
                place = own.index(item) + 1 if item in own else 0
                assert there[row, column] == place
                assert not place or values[row, column] == scores[place - 1]


@given(st.lists(st.tuples(scored(), scored()), min_size=1, max_size=4), shares, kinds, st.integers(0, 99))
def test_a_user_among_many_is_ranked_as_alone(rows, alpha: float, of_list, seed: int) -> None:
    together = Union.of(batch([first for first, _ in rows]), batch([second for _, second in rows]))
    utility = Uniform(alpha, of_list).final_utility(together, np.full(len(rows), alpha))
    best = together.best(utility, 99)
    for row, (first, second) in enumerate(rows):
        alone = Union.of(batch([first]), batch([second]))
        own = Uniform(alpha, of_list).final_utility(alone, np.array([alpha]))
        (order,) = alone.best(own, 99)
        items = together.items[row, best[row]]
        assert items[items >= 0].tolist() == [item for item in alone.items[0, order].tolist() if item >= 0]


@given(st.lists(st.tuples(lists, lists), min_size=1, max_size=5), shares, kinds, st.data())
def test_places_are_those_of_the_ranking(rows, alpha: float, of_list, data: st.DataObject) -> None:
    union = Union.of(*(batch([(row[side], [1.0] * len(row[side])) for row in rows]) for side in (0, 1)))
    utility = Uniform(alpha, of_list).final_utility(union, np.full(len(rows), alpha))
    ranked = np.take_along_axis(union.items, union.best(utility, 99), axis=1).tolist()
    asked = data.draw(st.lists(st.tuples(st.integers(0, len(rows) - 1), st.integers(0, 41)), max_size=9))
    assume(union.items.shape[1])
    rows_asked, items_asked = np.array(asked, np.int64).reshape(-1, 2).T
    found = places(utility, rows_asked, union.column_of(rows_asked, items_asked))
    assert found.tolist() == [
        ranked[row].index(item) + 1 if item in ranked[row] else 0 for row, item in asked
    ]


@given(lists, lists, kinds)
def test_alpha_zero_is_the_recommender_and_one_the_llm(recommender, llm, of_list) -> None:
    """With scores as long as no two are equal."""
    union = Union.of(*(batch([(own, np.linspace(5, 1, len(own)).tolist())]) for own in (recommender, llm)))
    for alpha, own in ((0.0, recommender), (1.0, llm)):
        best = union.best(Uniform(alpha, of_list).final_utility(union, np.array([alpha])), len(own))
        assert union.items[0, best[0]].tolist() == own


@given(lists, lists, shares)
def test_both_lists_are_treated_alike(first: list[int], second: list[int], alpha: float) -> None:
    """Swapping the lists and their weights changes no utility."""
    there, back = fused(first, second, alpha), fused(second, first, 1 - alpha)
    assert dict(zip(*there, strict=True)) == pytest.approx(dict(zip(*back, strict=True)))


@given(lists, lists, shares, shares)
def test_more_trust_never_pushes_down_what_the_llm_ranks_higher(
    recommender: list[int], llm: list[int], a: float, b: float
) -> None:
    """An item that the LLM places above the recommender gains utility as alpha grows."""
    low, high = sorted([a, b])
    before, after = (dict(zip(*fused(recommender, llm, alpha), strict=True)) for alpha in (low, high))
    last = max(len(recommender), len(llm)) + 1
    for item, utility in before.items():
        llm_place, own_place = (own.index(item) + 1 if item in own else last for own in (llm, recommender))
        rises = llm_place < own_place
        assert after[item] >= utility - 1e-9 if rises else after[item] <= utility + 1e-9
