"""Controls: as many items of each slice as the LLM added, none that a user knows, drawn as they say in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from longtail.augment.strategies.insertion import InsertionSection
from longtail.data.catalogue import SLICES
from longtail.fusion.amounts import Amounts, counted
from longtail.fusion.controls import Best, Picked, RandomUsers, Sampled, best_of, drawn
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from tests.augment.strategies import conftest as asking
from tests.recommenders.conftest import clusters, interactions

N_ITEMS = 30
COUNTS = (np.arange(N_ITEMS) % 7).astype(np.float64)  # some items were never taken
WEIGHTS = {"random": np.ones(N_ITEMS), "popular": COUNTS}
CODES = np.arange(N_ITEMS) // 3 % len(SLICES)
known = st.lists(st.sets(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS), min_size=1, max_size=6)


def amounts(counts: list | np.ndarray, codes: np.ndarray = CODES) -> Amounts:
    """As many of each slice as in `counts` [users, slices]; counts [users] are all of the first slice."""
    counts = np.asarray(counts, np.int64)
    if counts.ndim == 1:
        counts = np.column_stack([counts, np.zeros((len(counts), len(SLICES) - 1), np.int64)])
    return Amounts(codes, counts, counts)


def of_one_slice(counts: list | np.ndarray, n_items: int = N_ITEMS) -> Amounts:
    return amounts(counts, np.zeros(n_items, np.int64))


def some_counts(n: int, most: int) -> st.SearchStrategy[np.ndarray]:
    """How many items of each slice each of n users gets."""
    row = st.lists(st.integers(0, most), min_size=len(SLICES), max_size=len(SLICES))
    return st.lists(row, min_size=n, max_size=n).map(np.array)


@given(data=st.data(), known=known)
def test_amounts_are_those_of_each_slice(data, known):
    rows = [sorted(row) for row in known]
    found = counted(Histories.of(rows), CODES)
    assert found.tolist() == [
        [sum(CODES[item] == code for item in row) for code in range(len(SLICES))] for row in rows
    ]
    limits = data.draw(some_counts(len(rows), 3))
    listed = Histories.of(rows)
    kept = amounts(limits).most(listed.rows, listed.items)
    expected, left = [], limits.copy()
    for row, item in zip(listed.rows, listed.items, strict=True):
        expected.append(left[row, CODES[item]] > 0)
        left[row, CODES[item]] -= 1
    assert kept.tolist() == expected


@pytest.mark.parametrize("name", WEIGHTS)
@given(data=st.data(), known=known, seed=st.integers(0, 9))
def test_as_many_as_asked_for_of_those_that_are_possible(name, data, known, seed):
    weights, n = WEIGHTS[name], len(known)
    counts = data.draw(some_counts(n, 5))
    users = np.array(data.draw(st.lists(st.integers(0, 99), min_size=n, max_size=n, unique=True)))
    found = drawn(users, Histories.of(map(sorted, known)), amounts(counts), weights, seed)
    for row, (taken, own) in enumerate(zip(known, counts, strict=True)):
        added = _row(found, row).tolist()
        assert len(set(added)) == len(added)
        for code, count in enumerate(own):
            possible = {item for item in range(N_ITEMS) if weights[item] > 0 and CODES[item] == code} - taken
            of_slice = {item for item in added if CODES[item] == code}
            assert len(of_slice) == min(count, len(possible)) and of_slice <= possible


@given(known=known, cut=st.integers(0, 6), seed=st.integers(0, 9))
def test_what_a_user_gets_does_not_depend_on_the_batch(known, cut, seed):
    users, counts = np.arange(len(known)) + 5, np.full((len(known), len(SLICES)), 2)
    histories = Histories.of(map(sorted, known))
    whole = drawn(users, histories, amounts(counts), COUNTS, seed)
    parts = [np.arange(len(known))[:cut], np.arange(len(known))[cut:]]
    split = [drawn(users[part], histories.take(part), amounts(counts[part]), COUNTS, seed) for part in parts]
    assert np.concatenate([part.items for part in split]).tolist() == whole.items.tolist()


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("n_known", [3, 26])
def test_items_are_drawn_in_proportion_to_their_weights(name, n_known):
    """The first draw of many users, over what they do not know; 26 known items take the way of few that are left."""
    users = np.arange(8000)
    taken = np.arange(1, 1 + n_known)
    known = Histories.of([taken] * len(users))
    first = drawn(users, known, of_one_slice(np.ones(len(users))), WEIGHTS[name], seed=3).items
    possible = np.setdiff1d(np.flatnonzero(WEIGHTS[name]), taken)
    expected = WEIGHTS[name][possible] / WEIGHTS[name][possible].sum() * len(users)
    assert chisquare(np.bincount(first, minlength=N_ITEMS)[possible], expected).pvalue > 0.001


def test_drawing_again_is_drawing_from_what_is_left():
    """The second of two draws without replacement, in the exact distribution: sum over firsts of p(a) p(b) / (1 - p(a))."""
    weights = np.array([1.0, 2.0, 3.0, 6.0] + [0.5] * 8)
    users = np.arange(8000)
    known = Histories.of([[]] * len(users))
    both = drawn(users, known, of_one_slice(np.full(len(users), 2), 12), weights, seed=1).items.reshape(-1, 2)
    p = weights / weights.sum()
    expected = np.array([sum(p[a] * p[b] / (1 - p[a]) for a in range(12) if a != b) for b in range(12)])
    assert chisquare(np.bincount(both[:, 1], minlength=12), expected * len(users)).pvalue > 0.001


def test_another_seed_draws_others():
    users, known = np.arange(50), Histories.of([[]] * 50)
    counts = of_one_slice(np.full(50, 3))
    one, other = (drawn(users, known, counts, COUNTS, seed).items for seed in (1, 2))
    assert one.tolist() != other.tolist()


@given(data=st.data())
def test_best_of_is_the_head_of_each_slice_of_the_list(data):
    train = clusters(users=12)
    itemcf, histories = ITEMCF, Histories.observed(train)
    counts = data.draw(some_counts(12, 4))
    found = best_of(itemcf, histories, amounts(counts, CODES[:24]))
    lists, _ = itemcf.recommend_history(
        [histories.items[histories.indptr[row] : histories.indptr[row + 1]] for row in range(12)],
        train.n_items,
    )
    for row in range(12):
        free = [item for item in lists[row].tolist() if item >= 0]
        kept = {
            item
            for code, count in enumerate(counts[row])
            for item in [item for item in free if CODES[item] == code][:count]
        }
        assert _row(found, row).tolist() == [item for item in free if item in kept]


ITEMCF = ItemCF("itemcf", Section()).fit(clusters(users=12))


def test_a_list_is_sampled_from_itemcfs_as_the_llms_is():
    """The first two of many lists, in the exact distribution: scores to the power 1 / T, cut where `top_p` is reached."""
    histories, n = Histories.of([np.array([0, 1])] * 6000), 6000
    scores = ITEMCF.score(histories.take(np.array([0])), None)[0].astype(np.float64)
    scores[[0, 1]] = 0
    p = np.maximum(scores, 0) ** (1 / 0.8)

    def cut(p):
        order = np.argsort(-p, kind="stable")
        ends = np.cumsum(p[order]) / p.sum()
        kept = np.zeros(len(p))
        last = int(np.searchsorted(ends, 0.6)) + 1
        kept[order[:last]] = p[order[:last]]
        return kept / kept.sum()

    first = cut(p)
    second = sum(
        first[item] * cut(np.where(np.arange(len(p)) == item, 0, p)) for item in np.flatnonzero(first)
    )
    wanted = of_one_slice(np.full(n, 2), 24)
    found = Sampled(ITEMCF, 0.8, 0.6, 3).items(np.arange(n), histories, wanted)
    for place, expected in enumerate((first, second)):
        counts = np.bincount(found.items[place::2], minlength=len(p))
        assert not counts[expected == 0].any() and 2 < (expected > 0).sum() < (p > 0).sum()
        assert chisquare(counts[expected > 0], expected[expected > 0] * n).pvalue > 0.001


@given(
    counts=some_counts(12, 8),
    top_p=st.sampled_from([1e-9, 0.5, 1.0]),
)
def test_a_sampled_list_has_what_is_possible_and_its_surest_form_is_the_best(counts, top_p):
    histories, users = Histories.observed(clusters(users=12)), np.arange(12)
    wanted, all_there_are = (amounts(own, CODES[:24]) for own in (counts, np.full((12, len(SLICES)), 24)))
    found = Sampled(ITEMCF, 0.8, top_p, 1).items(users, histories, wanted)
    best = Best(ITEMCF).items(users, histories, wanted)
    every = Best(ITEMCF).items(users, histories, all_there_are)
    assert counted(found, CODES).tolist() == counted(best, CODES).tolist()
    assert (counted(found, CODES) == np.minimum(counts, counted(every, CODES))).all()
    for user in users:
        own = _row(found, user).tolist()
        assert len(set(own)) == len(own) and set(own) <= set(_row(every, user).tolist())
        if top_p < 0.1:
            assert own == _row(best, user).tolist()


@given(
    log=st.lists(st.lists(st.integers(0, 23), unique=True, min_size=1, max_size=8), min_size=2, max_size=6),
    data=st.data(),
)
def test_itemcf_picks_from_the_candidates_that_the_llm_was_shown(log, data):
    itemcf = ItemCF("itemcf", Section(recency=0.7)).fit(interactions(log, asking.N_ITEMS))
    counts = data.draw(some_counts(len(log), 1))
    rows = asking.asked(asking.strategy_of(InsertionSection(candidates=6), "token"), log)
    pool = asking.catalogue_of("token").warm
    found = Picked(itemcf, pool, 6, 7).items(
        np.arange(len(log)), Histories.of(log), amounts(counts, CODES[:24])
    )
    scores = itemcf.score(Histories.of(log), None)
    for row in rows.to_pylist():
        user = row["user"]
        ranked = sorted(row["shown"], key=lambda item: -max(scores[user, item], 0))
        expected = [
            item
            for place, item in enumerate(ranked)
            if sum(CODES[other] == CODES[item] for other in ranked[:place]) < counts[user, CODES[item]]
        ]
        assert _row(found, user).tolist() == expected
    assert len(rows) == len(log) and found.lengths.sum() <= counts.sum()


def _row(histories: Histories, row: int) -> np.ndarray:
    return histories.items[histories.indptr[row] : histories.indptr[row + 1]]


COLD_ITEMS = st.lists(st.sets(st.integers(20, 29), max_size=5), min_size=1, max_size=12)


@given(added=COLD_ITEMS, possible=st.data(), seed=st.integers(0, 9))
def test_random_users_are_as_many_for_each_item(added, possible, seed):
    """And different ones, with a history, in any batch; whoever has cold items had to have a history."""
    rows = Histories.of([sorted(own) for own in added])
    able = np.array([bool(own) or possible.draw(st.booleans()) for own in added])
    control = RandomUsers.drawn(rows, able, seed)
    found = control.items(np.arange(len(added)), rows, None)
    assert np.bincount(found.items, minlength=30).tolist() == np.bincount(rows.items, minlength=30).tolist()
    for user in range(len(added)):
        own = _row(found, user).tolist()
        assert len({*own}) == len(own) and (able[user] or not own)
        assert _row(control.items(np.array([user]), rows, None), 0).tolist() == own
    assert RandomUsers.drawn(rows, able, seed).by_user.items.tolist() == found.items.tolist()


def test_random_users_are_drawn_evenly():
    added = Histories.of([[20, 21, 22, 23]] * 2 + [[]] * 18)
    counts = np.zeros(20)
    for seed in range(500):
        counts += RandomUsers.drawn(added, np.ones(20, bool), seed).by_user.lengths
    assert chisquare(counts).pvalue > 1e-3
