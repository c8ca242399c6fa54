"""What is served ranks as the aggregator says, and how lists are fused is chosen on validation alone."""

import numpy as np
import pyarrow as pa
import pytest

from longtail.aggregation.choice import Kind
from longtail.aggregation.formulas import BUCKETS, Sparsity, Union
from longtail.aggregation.fused import Fused
from longtail.aggregation.kinds import ALONE, KINDS, Bucketed, Paper, Uniform
from longtail.aggregation.llm_lists import LLMLists
from longtail.evaluation import bucket_weights
from longtail.evaluation.constrained_choice import Changes
from longtail.evaluation.fusion_grid import GRID, UNTRIED, WEIGHTS
from longtail.evaluation.ranks import Protocol, rank_part
from longtail.evaluation.served_validation import CELLS, Tried, chosen_in, try_fit, try_fused
from longtail.evaluation.slices import Membership
from longtail.evaluation.targets import Part, read_targets, split_parts
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Constraint
from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.recommenders.training.reading import read_observed
from longtail.schema import HISTORIES
from longtail.workspace import Workspace

N_USERS, N_ITEMS = 60, 30
FUSION = Paper(0.7, 0.5, "rank")


def lists_of(rows: list[np.ndarray]) -> LLMLists:
    lengths = np.array([len(row) for row in rows])
    scores = [np.linspace(1, 0.2, length, dtype=np.float32) for length in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return LLMLists(indptr, np.concatenate(rows).astype(np.int32), np.concatenate(scores))


@pytest.fixture
def store(tmp_path, write_data):
    """Histories of two clusters of items, the published data, an ItemCF, and lists that hold each validation item first."""
    rng = np.random.default_rng(5)
    histories = [
        (rng.permutation(15)[: rng.integers(5, 10)] + 15 * (user % 2)).tolist() for user in range(N_USERS)
    ]
    cuts = [(len(items) - 2, len(items) - 1) for items in histories]
    data = write_data(Workspace(str(tmp_path)), histories, cuts, N_ITEMS)
    others = [rng.permutation(np.setdiff1d(np.arange(N_ITEMS), items)) for items in histories]
    pairs = zip(histories, others, strict=True)
    rows = [np.append(items[-2], other[: user % 5]) for user, (items, other) in enumerate(pairs)]
    rows[3] = rows[3][:0]
    model = build("itemcf", ItemCFSection()).fit(read_observed(data))
    return histories, data, model, lists_of(rows)


OFF = Constraint(slices=[])


def tried(served: Fused, data, slices=()) -> Tried:
    watched = Membership.read(slices, data)
    return sum((try_fused(served, watched, part) for part in split_parts(data)), Tried.none())


def test_fused_rankings_are_the_aggregators(store):
    _, _, model, lists = store
    served, users = Fused(model, lists, None, 12, FUSION), np.arange(N_USERS)
    items, scores = served.recommend(users, 8)
    lengths = model.seen.lengths
    alpha = FUSION.alpha(lengths, Sparsity.among(lengths))
    alpha[3] = 0  # has no list
    for user in users:
        own, own_scores = model.recommend(users[[user]], 12)
        union = Union.of((own, own_scores), lists.of(users[[user]]))
        utility = FUSION.final_utility(union, alpha[[user]])
        (best,) = union.best(utility, 8)
        assert items[user].tolist() == union.items[0, best].tolist()
        assert scores[user] == pytest.approx(utility[0, best])
        assert not set(items[user]) & set(model.seen.take(users[[user]]).items)


@pytest.mark.parametrize("utility", ["rank", "score"])
def test_alpha_zero_is_the_recommender_and_one_the_list(store, utility):
    _, _, model, lists = store
    users = np.arange(N_USERS)
    alone, _ = Fused(model, lists, None, 12, Uniform(0.0, utility)).recommend(users, 12)
    own = model.recommend(users, 12)[0]
    assert (alone[own >= 0] == own[own >= 0]).all()
    fused, _ = Fused(model, lists, None, 12, Uniform(1.0, utility)).recommend(users, 12)
    listed, _ = lists.of(users)
    assert (fused[:, : listed.shape[1]][listed >= 0] == listed[listed >= 0]).all()


def test_what_was_ranked_again_is_held_against_the_same_items_in_their_own_order(store):
    _, _, model, lists = store
    users = np.arange(N_USERS)
    own, scores = model.recommend(users, 10)
    rng = np.random.default_rng(0)
    again = lists_of([rng.permutation(row[row >= 0]) for row in own])
    ranked, control = (
        Fused(model, again, None, 12).union(users, None),
        Fused(model, again, model, 12).union(users, None),
    )
    for user in users:
        both = [union.items[user, union.llm_place[user] > 0] for union in (ranked, control)]
        assert set(both[0].tolist()) == set(both[1].tolist()) == set(own[user][own[user] >= 0].tolist())
        named = np.flatnonzero(control.llm_place[user])
        assert (control.llm_place[user, named] == control.recommender_place[user, named]).all()


def test_the_control_has_itemcfs_items_and_the_lists_lengths(store):
    _, _, model, lists = store
    users = np.arange(N_USERS)
    union = Fused(model, lists, model, 12).union(users, None)
    own, _ = model.recommend(users, 12)
    for user in users:
        named = np.flatnonzero(union.llm_place[user])
        listed = union.items[user, named[np.argsort(union.llm_place[user, named])]]
        assert listed.tolist() == own[user][own[user] >= 0][: lists.lengths[user]].tolist()


def test_what_was_taken_since_is_in_no_list_and_counts_as_asked_with(store):
    """Asked after the validation item, nobody is recommended it, though it stands first in the LLM's list; N(u) grows."""
    histories, _, model, lists = store
    users, since = np.arange(N_USERS), Histories.of([np.array(items[-2:-1]) for items in histories])
    found = Fused(model, lists, None, 12, FUSION).ranked(users, 12, since)
    assert not (found.union.items == since.items[:, None]).any()
    lengths = model.seen.lengths
    assert found.interactions.tolist() == (lengths + 1).tolist()
    left = (found.union.llm_place > 0).any(axis=1)
    expected = FUSION.alpha(lengths + 1, Sparsity.among(lengths))
    assert not left.all() and found.alpha.tolist() == np.where(left, expected, 0).tolist()


def test_one_user_of_a_ranking_is_that_user_alone(store):
    _, _, model, lists = store
    fused = Fused(model, lists, None, 12, FUSION)
    together = fused.ranked(np.arange(N_USERS), 9)
    for user in (0, 3, N_USERS - 1):
        own, alone = together.row(user), fused.ranked(np.array([user]), 9)
        assert own.items[own.items >= 0].tolist() == alone.items[alone.items >= 0].tolist()
        assert own.alpha == alone.alpha and own.interactions == alone.interactions


def test_every_choice_is_worth_its_ndcg_on_validation(store, tmp_path):
    histories, data, model, lists = store
    found = tried(Fused(model, lists, None, 12), data)
    assert found.n == N_USERS and found.ndcg.shape == (CELLS, len(GRID))
    ndcg = found.ndcg.sum(axis=0)
    for number in (0, 7, 18, 25, 38, 44, len(GRID) - 1):
        served, total = Fused(model, lists, None, 12, GRID[number]), 0.0
        for part in split_parts(data):
            for users, rows, targets in read_targets(part, "valid"):
                ranked, _ = served.recommend(users, 10)
                hits = ranked[rows] == targets[:, None]
                places = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
                total += per_user(rows, places, [10])[1][:, METRICS.index("ndcg"), 0].sum()
        assert ndcg[number] == pytest.approx(total), GRID[number]
    users, ranked = np.arange(N_USERS), model.recommend(np.arange(N_USERS), 10)[0]
    hits = ranked == np.array([items[-2] for items in histories])[:, None]
    places = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)
    assert found.alone.sum() == pytest.approx(
        per_user(users, places, [10])[1][:, METRICS.index("ndcg"), 0].sum()
    )
    to = Workspace(str(tmp_path)) / "validation"
    fit = sum((try_fit(model, part, to) for part in split_parts(data)), Tried.none())
    ranks = (to / "ranks").read_table().sort_by("user")
    assert (ranks["user"].to_numpy() == users).all() and (ranks["rank"].to_numpy() == places).all()
    assert fit.n == N_USERS and fit.alone.sum() == pytest.approx(found.alone.sum())
    assert fit.counts() == {"validation": {"users": N_USERS, "ndcg": fit.alone.sum() / N_USERS}}
    assert found.best(OFF).ndcg == max(one.ndcg for one in found.candidates) / N_USERS
    assert found.best(OFF).fusion == Paper(0.9, 0.5, "score"), "the lists know the validation items"


def test_the_best_of_each_kind_is_told_and_read_again(store):
    _, data, model, lists = store
    found = tried(Fused(model, lists, None, 12), data)
    kinds = found.kinds(OFF)
    assert {name: one.fusion.kind for name, one in kinds.items()} == {name: name for name in KINDS}
    ndcg = dict(zip(GRID, found.ndcg.sum(axis=0) / N_USERS, strict=True))
    for name in ("paper", "uniform", "inject"):
        assert kinds[name].ndcg == max(own for one, own in ndcg.items() if one.kind == name)
    counts = found.counts(OFF)
    assert chosen_in(counts) == found.best(OFF).fusion
    assert counts["serving"]["kinds"] == {name: one.told() for name, one in kinds.items()}


@pytest.mark.parametrize("shrinkage", [0, 6, bucket_weights.SHRINKAGE])
def test_bucketed_is_measured_with_weights_that_other_users_gave(store, monkeypatch, shrinkage: int):
    """By hand: of the users of each fold, those of a bucket are ranked with the weight that the other folds fitted."""
    monkeypatch.setattr(bucket_weights, "SHRINKAGE", shrinkage)
    histories, data, model, lists = store
    fused, users = Fused(model, lists, None, 12), np.arange(N_USERS)
    lengths = model.seen.lengths
    bucket = fused.sparsity.bucket(lengths)
    *_, by_rank, by_score = tried(fused, data, ["sparse"]).candidates
    for utility, candidate in (("rank", by_rank), ("score", by_score)):
        ndcg = {
            one: by_user(histories, Fused(model, lists, None, 12, one))
            for one in (*(Uniform(weight, utility) for weight in WEIGHTS), *GRID)
        }
        papers = [one for one in GRID if isinstance(one, Paper) and one.utility == utility]
        of_paper = {one: one.alpha(lengths, fused.sparsity) for one in papers}

        def of_users(group, ndcg=ndcg, of_paper=of_paper, utility=utility) -> tuple[float, ...]:
            return weights_by_hand(group, bucket, ndcg, of_paper, utility, shrinkage)

        assert candidate.fusion == Bucketed(of_users(users >= 0), utility)
        total = 0.0
        for user in users:
            weight = of_users(users % 5 != user % 5)[bucket[user]]
            total += ndcg[Uniform(weight, utility)][user]
        assert candidate.ndcg == pytest.approx(total)


def weights_by_hand(group, bucket, ndcg, of_paper, utility, shrinkage) -> tuple[float, ...]:
    """The weight of each bucket from the users bool [users] of a group."""
    paper = of_paper[max(of_paper, key=lambda one: ndcg[one][group].sum())]
    found = []
    for number in range(BUCKETS):
        own = group & (bucket == number)
        sums = {weight: ndcg[Uniform(weight, utility)][own].sum() for weight in WEIGHTS}
        best = max(WEIGHTS, key=sums.get)
        prior = paper[own].mean() if own.any() else paper[group].mean()
        shrunk = (own.sum() * best + shrinkage * prior) / (own.sum() + shrinkage)
        distance = {weight: abs(weight - shrunk) for weight in WEIGHTS}
        found.append(min(WEIGHTS, key=distance.get))
    return tuple(found)


def by_user(histories: list[list[int]], ranker: Fused) -> np.ndarray:
    """NDCG@10 of each user's validation item."""
    ranked, _ = ranker.recommend(np.arange(N_USERS), 10)
    hits = ranked == np.array([items[-2] for items in histories])[:, None]
    return np.where(hits.any(axis=1), 1 / np.log2(hits.argmax(axis=1) + 2), 0.0)


def test_folds_add_up_whatever_the_parts(store):
    """The sums of blocks of users are those of all users at once."""
    _, data, model, lists = store
    fused, watched = Fused(model, lists, None, 12), Membership.read(["tail", "sparse"], data)
    (part,) = split_parts(data)
    whole = try_fused(fused, watched, part)
    halves = [Part(part.name, part.groups[:1]), Part(part.name, part.groups[1:])]
    added = sum((try_fused(fused, watched, half) for half in halves), Tried.none())
    assert np.array_equal(whole.users, added.users) and np.allclose(whole.ndcg, added.ndcg)
    assert np.allclose(whole.alpha, added.alpha)
    for one, other in zip(whole.candidates, added.candidates, strict=True):
        for change, same in zip(one.changes.of_candidate(0), other.changes.of_candidate(0), strict=True):
            assert change.difference == pytest.approx(same.difference) and change.users == same.users


def losing(histories: list[list[int]], tail: set[int]) -> LLMLists:
    """Lists that hold the validation item first, but only wrong items for those whose validation item is in `tail`."""
    rows = []
    for items in histories:
        wrong = np.setdiff1d(np.arange(N_ITEMS), items[:-1])
        rows.append(wrong if items[-2] in tail else np.append(items[-2], wrong[:3]))
    return lists_of(rows)


def test_a_fusion_that_loses_a_slice_is_not_chosen(store):
    """The list is right for most and wrong for the tail: without the constraint it is trusted as far as it goes."""
    histories, data, model, _ = store
    items = data / "items.parquet"
    table = items.read_table().to_pylist()
    found = model.recommend(np.arange(N_USERS), 10)[0]
    hit = [items[-2] for own, items in zip(found.tolist(), histories, strict=True) if items[-2] in own[:3]]
    tail = {hit[0], hit[1], hit[2]}  # the recommender alone finds these
    for row in table:
        row["slice"] = "tail" if row["item"] in tail else "head"
    items.write_table(pa.Table.from_pylist(table, (data / "items.parquet").read_table().schema))
    served = Fused(model, losing(histories, tail), None, 12)
    total = tried(served, data, ["tail", "sparse"])
    constraint = Constraint(within_se=0.0)
    free, kept = total.best(OFF).fusion, total.best(constraint).fusion
    assert kept != free, "it loses the tail"
    worth = {one: slice_mean(model, served, one, data, tail) for one in (free, kept, ALONE)}
    assert worth[free] < worth[ALONE] <= worth[kept]
    reached = total.best(constraint).ndcg * N_USERS
    better = [one for one, ndcg in zip(GRID, total.ndcg.sum(axis=0), strict=True) if ndcg > reached]
    assert better and all(slice_mean(model, served, one, data, tail) < worth[ALONE] for one in better)
    counts = total.counts(constraint)["serving"]
    assert counts["validation_ndcg_free"] == total.best(OFF).ndcg > counts["validation_ndcg"]


def slice_mean(model, served, choice, data, tail) -> float:
    """NDCG@10 of the users whose validation item is in `tail`, by a ranking with this choice; ALONE: the recommender."""
    values = []
    ranker = model if choice == ALONE else Fused(model, served.lists, None, 12, choice)
    for part in split_parts(data):
        for users, _, targets in read_targets(part, "valid"):
            ranked, _ = ranker.recommend(users, 10)
            for own, target in zip(ranked.tolist(), targets.tolist(), strict=True):
                if target in tail:
                    values.append(1 / np.log2(own.index(target) + 2) if target in own else 0.0)
    return float(np.mean(values))


def by_hand(ndcg: np.ndarray, alone: float, changes: Changes) -> Tried:
    """Four users in the first cell; ndcg float64 [GRID]."""
    none = Tried.none()
    none.users[0], none.alone[0], none.ndcg[0] = 4, alone, ndcg
    return Tried(none.users, none.alone, none.ndcg, none.alpha, (changes, *none.changes[1:]))


def test_if_every_fusion_loses_a_slice_the_recommender_stays_alone():
    """Even if it is the best for all users by far."""
    changes = Changes.of({"tail": np.full((4, 1, len(GRID)), -0.1)})
    total = by_hand(np.linspace(0, 3, len(GRID)), 1.0, changes)
    assert total.best(Constraint()).fusion == ALONE and total.best(OFF).fusion == GRID[-1]
    assert {one.fusion for one in total.kinds(Constraint()).values()} == {ALONE}


def test_the_choice_does_not_look_at_the_test(store):
    """Other test items change nothing that is tried; other validation items do."""
    _, data, model, lists = store
    served = Fused(model, lists, None, 12)
    before = tried(served, data)
    for shifted, same in ((1, True), (2, False)):
        for file in (data / "histories").files(".parquet"):
            rows = file.read_table().to_pylist()
            for row in rows:
                row["items"][-shifted] = (row["items"][-shifted] + 7) % N_ITEMS
            file.write_table(pa.Table.from_pylist(rows, HISTORIES))
        after = tried(served, data)
        assert np.array_equal(before.ndcg, after.ndcg) == same


def test_without_validation_items_the_middle_of_the_grid_is_taken():
    assert Tried.none().best(Constraint()) == Kind(UNTRIED, None) and UNTRIED in GRID
    counts = Tried.none().counts(OFF)
    assert Tried.none().kinds(OFF) == {"paper": Kind(UNTRIED, None)}
    assert "validation_ndcg" not in counts["serving"] and counts["validation"] == {"users": 0, "ndcg": None}


def test_equally_good_choices_leave_the_recommender_alone():
    total = by_hand(np.full(len(GRID), 1.5), 1.5, Changes())
    assert total.best(Constraint()).fusion == GRID[0] == ALONE


def test_sampled_ranks_follow_the_fused_order(store, tmp_path):
    """Of two items in a list the better placed scores higher, and any of them above what neither list names."""
    _, data, model, lists = store
    served, users = Fused(model, lists, None, 5, FUSION), np.arange(N_USERS)
    candidates = np.tile(np.arange(N_ITEMS), (N_USERS, 1))
    scores = served.score_pairs(model.seen.take(users), users, candidates)
    alone = model.score_pairs(model.seen.take(users), users, candidates)
    ranked, _ = served.recommend(users, 12)
    for user in users:
        order = ranked[user][ranked[user] >= 0]
        outside = np.setdiff1d(np.arange(N_ITEMS), order)
        assert (np.diff(scores[user, order]) <= 0).all()
        assert scores[user, order].min() > scores[user, outside].max()
        assert np.array_equal(
            np.argsort(scores[user, outside], kind="stable"), np.argsort(alone[user, outside], kind="stable")
        )
    for part in split_parts(data):
        rank_part(served, part, Workspace(str(tmp_path)) / "out", Protocol(10, negatives=4))
    assert set((Workspace(str(tmp_path)) / "out/ranks").read_table()["sampled_rank"].to_pylist()) <= {
        1,
        2,
        3,
        4,
        5,
    }
