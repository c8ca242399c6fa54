"""Hints are what a recommender would say had the user not taken the targets, and never show the user's own history."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.llm.prompts.hints import Hints, build_hints, item_vectors
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from longtail.registry import recommender_spec, recommenders
from longtail.schema import HISTORIES
from longtail.workspace import Workspace
from tests.recommenders.conftest import interactions, with_texts

N_ITEMS = 12
LOGS = st.lists(
    st.lists(st.integers(0, N_ITEMS - 1), unique=True, min_size=2, max_size=8), min_size=2, max_size=12
)


def hints_of(train: Interactions) -> Hints:
    similarity = ItemCF("itemcf", Section()).fit(train).similarity
    return Hints(train.indptr, train.items, train.matrix.T.tocsr(), similarity)


@settings(max_examples=80)
@given(log=LOGS, seed=st.integers(0, 9))
def test_a_hint_equals_that_of_an_itemcf_that_never_saw_the_targets(log, seed):
    """The brute-force twin: fit again without the user's last items, and score the candidates."""
    rng = np.random.default_rng(seed)
    items = np.array(log[0], np.int32)
    before, targets = items[: -(len(items) // 2)], items[-(len(items) // 2) :]
    candidates = rng.permutation(np.append(targets, np.setdiff1d(np.arange(N_ITEMS), items)[:4]))
    without = ItemCF("itemcf", Section()).fit(interactions([before.tolist(), *log[1:]], N_ITEMS))
    scores = np.asarray(without.similarity.toarray()[before][:, candidates].sum(axis=0)).round(6)
    expected = candidates[np.argsort(-scores, kind="stable")]
    found = hints_of(interactions(log, N_ITEMS)).ranked(before, candidates, targets)
    # Scores that differ in their seventh digit may stand either way.
    by_item = dict(zip(candidates.tolist(), scores.tolist(), strict=True))
    assert sorted(found) == sorted(candidates)
    assert np.allclose(
        [by_item[item] for item in found.tolist()], [by_item[item] for item in expected.tolist()], atol=2e-6
    )


@settings(max_examples=80)
@given(log=LOGS)
def test_the_similar_user_has_the_largest_cosine_and_is_somebody_else(log):
    dense = np.zeros((len(log), N_ITEMS))
    for user, items in enumerate(log):
        dense[user, items] = 1
    before = np.array(log[0][:-1], np.int32)
    asked = np.zeros(N_ITEMS)
    asked[before] = 1
    cosines = dense @ asked / np.linalg.norm(dense, axis=1) / np.linalg.norm(asked)
    cosines[0] = 0
    found = hints_of(interactions(log, N_ITEMS)).similar(0, before)
    best = int(np.flatnonzero(np.isclose(cosines, cosines.max()))[0])
    assert found.tolist() == (log[best] if cosines.max() > 0 else [])


@settings(max_examples=80)
@given(log=LOGS, seed=st.integers(0, 9))
def test_by_embedding_the_similar_user_has_the_nearest_sum_of_item_vectors(log, seed):
    vectors = np.random.default_rng(seed).standard_normal((N_ITEMS, 3)).astype(np.float32)
    before = np.array(log[0][:-1], np.int32)
    sums = np.array([vectors[items].sum(axis=0) for items in log])
    own = vectors[before].sum(axis=0)
    cosines = sums @ own / np.linalg.norm(sums, axis=1) / np.linalg.norm(own)
    cosines[0] = 0
    hints = replace(hints_of(interactions(log, N_ITEMS)), similar_user="embedding", vectors=vectors)
    found = hints.similar(0, before).tolist()
    near = [log[user] for user in np.flatnonzero(cosines > cosines.max() - 1e-5)]
    assert found in near if cosines.max() > 1e-5 else found in [[], *near]


def test_a_users_own_targets_do_not_move_the_similar_user_by_embedding():
    """The vector is that of the items asked about, and nobody is similar to himself."""
    vectors = np.eye(N_ITEMS, dtype=np.float32)
    found = []
    for targets in ([5, 6], [7]):
        log = [[0, 1, *targets], [0, 1, 9], [5, 6, 7]]
        hints = replace(hints_of(interactions(log, N_ITEMS)), similar_user="embedding", vectors=vectors)
        found.append(hints.similar(0, np.array([0, 1])).tolist())
    assert found == [[0, 1, 9]] * 2


def test_the_vectors_are_those_of_a_fitted_bpr():
    """Two groups of users who share nothing: the items of a group are near one another."""
    rng = np.random.default_rng(0)
    log = [rng.permutation(np.arange(6) + 6 * (user % 2))[:4].tolist() for user in range(60)]
    train = interactions(log, N_ITEMS + 1)
    vectors = item_vectors(train, seed=0)
    assert not vectors[N_ITEMS].any(), "nobody took it"
    unit = vectors[:N_ITEMS] / np.linalg.norm(vectors[:N_ITEMS], axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert cosines[:6, :6].mean() > cosines[:6, 6:].mean() + 0.5


def test_without_a_similar_user_nobody_is_looked_for():
    hints = replace(hints_of(interactions([[0, 1], [0, 1, 2]], N_ITEMS)), similar_user="none")
    assert not len(hints.similar(0, np.array([0, 1])))


@settings(max_examples=60)
@given(
    log=LOGS,
    count=st.integers(1, 6),
    name=st.sampled_from([name for name in recommenders() if recommender_spec(name).item_to_item]),
    recency=st.sampled_from([1.0, 0.6]),
)
def test_the_top_is_that_of_the_recommender_itself(log, count, name, recency):
    train, section = with_texts(interactions(log, N_ITEMS)), recommender_spec(name).settings()
    section = section.model_copy(update={"recency": recency})
    model = build(name, section).fit(train)
    hints = Hints(train.indptr, train.items, train.matrix.T.tocsr(), model.similarity, section.recency)
    for history in map(np.array, log):
        items, scores = (found[0] for found in model.recommend_history([history], count))
        found = hints.top(history, count)
        assert len(found) == len(set(found.tolist())) == (items >= 0).sum()
        assert not set(found.tolist()) & set(history.tolist())
        weights = section.recency ** np.arange(len(history) - 1, -1, -1)
        own = weights @ model.similarity.toarray()[history]
        # Scores that differ in their last digits may stand either way.
        np.testing.assert_allclose(own[found], scores[: len(found)], rtol=1e-5)


def test_nothing_held_out_is_in_the_log_of_the_hints(tmp_path: Path):
    """Users 0 and 1 are alike; what is held out of either is met by nobody, so no hint can tell of it."""
    rows = [
        {
            "user": user,
            "user_id": str(user),
            "items": items,
            "timestamps": list(range(len(items))),
            "train_end": 3,
            "valid_end": 4,
            "slice": "sparse",
        }
        for user, items in enumerate([[0, 1, 2, 7, 8], [1, 0, 2, 9, 10], [3, 4, 5, 6, 11]])
    ]
    data = Workspace(str(tmp_path)) / "data"
    (data / "histories/a.parquet").write_table(pa.Table.from_pylist(rows, HISTORIES))
    (data / "items.parquet").write_table(pa.table({"item": np.arange(N_ITEMS, dtype=np.int32)}))
    hints = build_hints(data)
    assert hints.similar(0, np.array([0, 1])).tolist() == [1, 0, 2]
    held_out = np.array([7, 8, 9, 10])
    assert not hints.takers[held_out].nnz and not hints.similarity[:, held_out].nnz
    assert hints.ranked(np.array([0, 1]), np.array([7, 2, 9]), np.array([2])).tolist() == [2, 7, 9]
