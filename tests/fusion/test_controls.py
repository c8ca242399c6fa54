"""Controls: as many items as are asked for, none that a user knows, drawn as they say; whatever the batches are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from longtail.augment.strategies.insertion import InsertionSection
from longtail.fusion.controls import Best, Picked, Sampled, best_of, drawn
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from tests.augment.strategies import conftest as asking
from tests.recommenders.conftest import clusters, interactions

N_ITEMS = 30
COUNTS = (np.arange(N_ITEMS) % 7).astype(np.float64)  # some items were never taken
WEIGHTS = {"random": np.ones(N_ITEMS), "popular": COUNTS}
known = st.lists(st.sets(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS), min_size=1, max_size=6)


@pytest.mark.parametrize("name", WEIGHTS)
@given(data=st.data(), known=known, seed=st.integers(0, 9))
def test_as_many_as_asked_for_of_those_that_are_possible(name, data, known, seed):
    weights, n = WEIGHTS[name], len(known)
    counts = np.array(data.draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)))
    users = np.array(data.draw(st.lists(st.integers(0, 99), min_size=n, max_size=n, unique=True)))
    found = drawn(users, Histories.of(map(sorted, known)), counts, weights, seed)
    for row, (taken, count) in enumerate(zip(known, counts, strict=True)):
        added = found.items[found.indptr[row] : found.indptr[row + 1]].tolist()
        possible = {item for item in range(N_ITEMS) if weights[item] > 0} - taken
        assert len(added) == len(set(added)) == min(count, len(possible))
        assert set(added) <= possible


@given(known=known, cut=st.integers(0, 6), seed=st.integers(0, 9))
def test_what_a_user_gets_does_not_depend_on_the_batch(known, cut, seed):
    users, counts = np.arange(len(known)) + 5, np.full(len(known), 4)
    histories = Histories.of(map(sorted, known))
    whole = drawn(users, histories, counts, COUNTS, seed)
    parts = [np.arange(len(known))[:cut], np.arange(len(known))[cut:]]
    split = [drawn(users[part], histories.take(part), counts[part], COUNTS, seed) for part in parts]
    assert np.concatenate([part.items for part in split]).tolist() == whole.items.tolist()


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("n_known", [3, 26])
def test_items_are_drawn_in_proportion_to_their_weights(name, n_known):
    """The first draw of many users, over what they do not know; 26 known items take the way of few that are left."""
    users = np.arange(8000)
    taken = np.arange(1, 1 + n_known)
    known = Histories.of([taken] * len(users))
    first = drawn(users, known, np.ones(len(users), np.int64), WEIGHTS[name], seed=3).items
    possible = np.setdiff1d(np.flatnonzero(WEIGHTS[name]), taken)
    expected = WEIGHTS[name][possible] / WEIGHTS[name][possible].sum() * len(users)
    assert chisquare(np.bincount(first, minlength=N_ITEMS)[possible], expected).pvalue > 0.001


def test_drawing_again_is_drawing_from_what_is_left():
    """The second of two draws without replacement, in the exact distribution: sum over firsts of p(a) p(b) / (1 - p(a))."""
    weights = np.array([1.0, 2.0, 3.0, 6.0] + [0.5] * 8)
    users = np.arange(8000)
    known = Histories.of([[]] * len(users))
    both = drawn(users, known, np.full(len(users), 2), weights, seed=1).items.reshape(-1, 2)
    p = weights / weights.sum()
    expected = np.array([sum(p[a] * p[b] / (1 - p[a]) for a in range(12) if a != b) for b in range(12)])
    assert chisquare(np.bincount(both[:, 1], minlength=12), expected * len(users)).pvalue > 0.001


def test_another_seed_draws_others():
    users, known = np.arange(50), Histories.of([[]] * 50)
    counts = np.full(50, 3)
    one, other = (drawn(users, known, counts, COUNTS, seed).items for seed in (1, 2))
    assert one.tolist() != other.tolist()


@given(data=st.data())
def test_best_of_is_the_head_of_the_recommenders_list_without_what_is_held_out(data):
    train = clusters(users=12)
    itemcf, histories = ITEMCF, Histories.observed(train)
    held_out = Histories.of(
        [data.draw(st.lists(st.integers(0, train.n_items - 1), max_size=4, unique=True)) for _ in range(12)]
    )
    counts = np.array(data.draw(st.lists(st.integers(0, 6), min_size=12, max_size=12)))
    found = best_of(itemcf, histories, held_out, counts)
    lists, _ = itemcf.recommend_history(
        [histories.items[histories.indptr[row] : histories.indptr[row + 1]] for row in range(12)],
        train.n_items,
    )
    for row in range(12):
        later = held_out.items[held_out.indptr[row] : held_out.indptr[row + 1]].tolist()
        expected = [item for item in lists[row].tolist() if item >= 0 and item not in later][: counts[row]]
        assert found.items[found.indptr[row] : found.indptr[row + 1]].tolist() == expected


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
    held_out = Histories.of([[]] * n)
    found = Sampled(ITEMCF, 0.8, 0.6, 3).items(np.arange(n), histories, held_out, np.full(n, 2))
    for place, expected in enumerate((first, second)):
        counts = np.bincount(found.items[place::2], minlength=len(p))
        assert not counts[expected == 0].any() and 2 < (expected > 0).sum() < (p > 0).sum()
        assert chisquare(counts[expected > 0], expected[expected > 0] * n).pvalue > 0.001


@given(
    data=st.data(),
    counts=st.lists(st.integers(0, 30), min_size=12, max_size=12),
    top_p=st.sampled_from([1e-9, 0.5, 1.0]),
)
def test_a_sampled_list_has_what_is_possible_and_its_surest_form_is_the_best(data, counts, top_p):
    histories, users, counts = Histories.observed(clusters(users=12)), np.arange(12), np.array(counts)
    held_out = Histories.of(data.draw(st.lists(st.integers(0, 23), max_size=3, unique=True)) for _ in users)
    held_out = Histories.of(np.setdiff1d(_row(held_out, user), _row(histories, user)) for user in users)
    found = Sampled(ITEMCF, 0.8, top_p, 1).items(users, histories, held_out, counts)
    best = Best(ITEMCF).items(users, histories, held_out, counts)
    every = Best(ITEMCF).items(users, histories, held_out, np.full(12, 24))
    assert found.lengths.tolist() == best.lengths.tolist()
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
    held_out = [
        [item for item in data.draw(st.lists(st.integers(0, 23), max_size=4, unique=True)) if item not in own]
        for own in log
    ]
    counts = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(log), max_size=len(log))))
    rows = asking.asked(asking.strategy_of(InsertionSection(candidates=6), "token"), log, held_out)
    pool = asking.catalogue_of("token").warm
    found = Picked(itemcf, pool, 6, 7).items(
        np.arange(len(log)), Histories.of(log), Histories.of(held_out), counts
    )
    scores = itemcf.score(Histories.of(log), None)
    for row in rows.to_pylist():
        user, free = row["user"], [item for item in row["shown"] if item not in held_out[row["user"]]]
        expected = sorted(free, key=lambda item: -max(scores[user, item], 0))[: counts[user]]
        assert _row(found, user).tolist() == expected
    assert len(rows) == len(log) and found.lengths.sum() <= counts.sum()


def _row(histories: Histories, row: int) -> np.ndarray:
    return histories.items[histories.indptr[row] : histories.indptr[row + 1]]
