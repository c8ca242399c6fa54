"""The rows of the report: slices, seeds, lifts and intervals are what their definitions say."""

import numpy as np
import pytest
from scipy import stats

from longtail.evaluation import per_user_metrics
from longtail.evaluation.crossed import Crossed
from longtail.evaluation.report_rows import measure
from longtail.evaluation.slices import SLICE_NAMES, members
from longtail.ranking_metrics import METRICS, SAMPLED_METRICS, per_user
from longtail.recipe import Evaluation
from longtail.workspace import Workspace

# Items 0..5: item 0 trains 4 times (head), 1 trains 3 times (mid), 2 once (tail), 3..5 never (cold).
HISTORIES = [[0, 1, 2, 3], [1, 0, 2, 5], [0, 1, 3, 4], [0, 5, 1, 2]]
CUTS = [(3, 3), (2, 2), (2, 3), (1, 2)]
TARGETS = [(0, 3), (1, 2), (1, 5), (2, 4), (3, 1), (3, 2)]
SETTINGS = Evaluation(ks=[1, 3], bootstrap=200)


@pytest.fixture
def store(tmp_path, write_data, write_ranks):
    ws = Workspace(str(tmp_path))
    data = write_data(ws, HISTORIES, CUTS, n_items=6)

    def place(name, ranks):
        rows = [(user, item, rank) for (user, item), rank in zip(TARGETS, ranks, strict=True)]
        return write_ranks(ws, f"evaluation/{name}", [rows[3:], rows[:3]], [4, 2, 0, 0, 0, 0])

    return data, place


def pick(rows, **wanted):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_slices_are_of_targets_and_of_users(store):
    data, _ = store
    users, items = np.array(TARGETS).T
    chosen = {name: members(name, data)(users, items) for name in SLICE_NAMES}
    rows = {name: [TARGETS[row] for row in np.flatnonzero(own)] for name, own in chosen.items()}
    assert rows == {
        "all": TARGETS,
        "items:head": [],
        "items:mid": [(3, 1)],
        "items:tail": [(1, 2), (3, 2)],
        "items:cold": [(0, 3), (1, 5), (2, 4)],
        "users:sparse": [(1, 2), (1, 5), (2, 4), (3, 1), (3, 2)],
        "users:regular": [(0, 3)],
        "users:active": [],
    }


def test_values_are_per_user_means_over_pairs(store):
    data, place = store
    variants = {
        "observed": [place("o0", [0, 1, 0, 0, 3, 0])],
        "generated": [place("g0", [2, 1, 0, 0, 3, 1]), place("g1", [0, 1, 2, 0, 0, 1])],
    }
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    observed = pick(rows, variant="observed", slice="all", metric="recall", k=3)
    assert (observed.value, observed.n) == (pytest.approx((0 + 1 / 2 + 0 + 1 / 2) / 4), 4)
    assert observed.lift is None and observed.ci_low is None and observed.ci_high is None

    generated = pick(rows, variant="generated", slice="all", metric="recall", k=3)
    seeds = [(1 + 1 / 2 + 0 + 1) / 4, (0 + 1 + 0 + 1 / 2) / 4]
    assert generated.value == pytest.approx(np.mean(seeds))
    assert generated.lift == pytest.approx(np.mean(seeds) / observed.value - 1)
    assert generated.ci_low <= generated.value - observed.value <= generated.ci_high

    tail = pick(rows, variant="generated", slice="items:tail", metric="ndcg", k=1)
    assert (tail.value, tail.n) == (pytest.approx(1.0), 2)
    assert pick(rows, variant="observed", slice="items:tail", metric="ndcg", k=1).value == pytest.approx(0.5)


def test_slices_without_users_give_no_row_and_no_lift_from_nothing(store):
    data, place = store
    variants = {"observed": [place("o", [0] * 6)], "random": [place("r", [1, 1, 2, 1, 1, 2])]}
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    assert {row.slice for row in rows if row.metric == "hit"}.isdisjoint({"items:head", "users:active"})
    row = pick(rows, variant="random", slice="all", metric="hit", k=1)
    assert (row.n, row.targets) == (4, 6)
    assert row.lift is None and row.ci_low == row.ci_high == 1


def test_bias_rows(store):
    data, place = store
    rows = measure("swing", {"observed": [place("o", [0] * 6)]}, data, SETTINGS, seed=1)
    row = pick(rows, metric="coverage")
    assert (row.k, row.slice, row.value, row.n, row.ci_low) == (10, "all", 2 / 6, 4, None)
    assert pick(rows, metric="exposure", slice="items:head").value == pytest.approx(4 / 6)


def test_equal_variants_have_equal_rows_and_the_seed_decides_them(store):
    data, place = store
    ranks = [0, 2, 1, 3, 0, 1]
    variants = {
        "observed": [place("o", [0, 1, 0, 0, 3, 0])],
        "random": [place("a", ranks)],
        "itemcf": [place("b", ranks)],
    }
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    figures = {
        name: [
            (row.slice, row.metric, row.k, row.value, row.ci_low, row.ci_high)
            for row in rows
            if row.variant == name
        ]
        for name in ("random", "itemcf")
    }
    assert figures["random"] == figures["itemcf"]
    assert rows == measure("swing", variants, data, SETTINGS, seed=1)
    assert rows != measure("swing", variants, data, SETTINGS, seed=2)


def test_other_targets_than_observed_are_an_error(store, tmp_path, write_ranks):
    data, place = store
    strange = write_ranks(
        Workspace(str(tmp_path)), "evaluation/s", [[(0, 3, 1)], [(1, 2, 1)]], [1, 0, 0, 0, 0, 0]
    )
    with pytest.raises(ValueError, match="on different targets"):
        measure("swing", {"observed": [place("o", [0] * 6)], "random": [strange]}, data, SETTINGS, seed=1)
    fewer = write_ranks(Workspace(str(tmp_path)), "evaluation/f", [[(0, 3, 1)]], [1, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="on different parts"):
        measure("swing", {"observed": [place("p", [0] * 6)], "random": [fewer]}, data, SETTINGS, seed=1)


def test_with_one_pair_t_and_p_are_those_of_the_paired_test_of_scipy(store):
    data, place = store
    ranks = {"observed": [0, 1, 0, 0, 3, 0], "generated": [2, 1, 0, 0, 3, 1]}
    variants = {variant: [place(variant, own)] for variant, own in ranks.items()}
    users = np.array(TARGETS)[:, 0]
    values = {variant: per_user(users, np.array(own), SETTINGS.ks)[1] for variant, own in ranks.items()}
    expected = stats.ttest_rel(values["generated"], values["observed"])
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    for m, metric in enumerate(METRICS):
        for at, k in enumerate(SETTINGS.ks):
            row = pick(rows, variant="generated", slice="all", metric=metric, k=k)
            assert row.pairs == 1
            assert (row.t, row.p) == pytest.approx((expected.statistic[m, at], expected.pvalue[m, at]))
            base = pick(rows, variant="observed", slice="all", metric=metric, k=k)
            assert base.t is base.p is base.pairs is None
    assert pick(rows, metric="coverage", variant="generated").p is None


def test_with_several_pairs_the_interval_is_that_of_users_and_pairs(store):
    """The one place of observed stands beside every pair, and a control of one place has the users' variance only."""
    data, place = store
    observed, pairs = [0, 1, 0, 0, 3, 0], ([2, 1, 0, 0, 3, 1], [0, 1, 2, 3, 0, 1], [1, 1, 0, 2, 0, 0])
    variants = {
        "observed": [place("o", observed)],
        "generated": [place(f"g{pair}", ranks) for pair, ranks in enumerate(pairs)],
        "popular": [place("p", [0, 2, 1, 0, 3, 0])],
    }
    users = np.array(TARGETS)[:, 0]
    values = [per_user(users, np.array(ranks), SETTINGS.ks)[1] for ranks in (observed, *pairs)]
    crossed = Crossed.of(np.stack(values[1:], axis=1) - values[0][:, None])
    (low, high), (t, p) = crossed.interval(), crossed.t_test()
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    for m, metric in enumerate(METRICS):
        for at, k in enumerate(SETTINGS.ks):
            row = pick(rows, variant="generated", slice="all", metric=metric, k=k)
            assert row.pairs == 3
            found = (row.ci_low, row.ci_high, row.t, row.p)
            assert found == pytest.approx((low[m, at], high[m, at], t[m, at], p[m, at]))
            assert pick(rows, variant="popular", slice="all", metric=metric, k=k).pairs == 1


def test_a_number_of_evaluations_that_is_neither_one_nor_that_of_the_pairs_is_an_error(store):
    data, place = store
    variants = {
        "observed": [place("o0", [0] * 6), place("o1", [0] * 6)],
        "random": [place(f"r{pair}", [0] * 6) for pair in range(3)],
    }
    with pytest.raises(ValueError, match="observed has 2 evaluations, another variant has 3"):
        measure("swing", variants, data, SETTINGS, seed=1)


def test_blocks_of_targets_change_nothing(store, monkeypatch):
    data, place = store
    variants = {
        "observed": [place("o", [0, 1, 0, 0, 3, 0])],
        "generated": [place("g0", [2, 1, 0, 0, 3, 1]), place("g1", [0, 1, 2, 3, 0, 1])],
        "popular": [place("p", [0, 2, 1, 0, 3, 0])],
    }
    whole = [figures(row) for row in measure("swing", variants, data, SETTINGS, seed=1)]
    monkeypatch.setattr(per_user_metrics, "TARGETS_AT_ONCE", 1)
    for row, known in zip(measure("swing", variants, data, SETTINGS, seed=1), whole, strict=True):
        assert figures(row) == pytest.approx(known, nan_ok=True)


def figures(row):
    """All but the resampled ends of an interval, for which the order of users matters."""
    found = (row.value, row.n, row.targets, row.lift, row.t, row.p)
    return [np.nan if one is None else one for one in found]


def test_the_best_rival_is_the_highest_of_observed_and_all_controls(store):
    data, place = store
    ranks = {
        "observed": [0, 1, 0, 0, 3, 0],
        "discriminated": [2, 1, 0, 0, 3, 1],
        "without_hits": [2, 1, 0, 0, 0, 0],
        "itemcf": [0, 1, 2, 3, 0, 1],
        "popular": [1, 1, 0, 1, 1, 1],
        "served_itemcf": [1] * 6,
    }
    variants = {variant: [place(variant, own)] for variant, own in ranks.items()}
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    rivals = ("observed", "itemcf", "popular")
    for row in rows:
        if row.variant == "discriminated" and row.metric in METRICS:
            where = {"slice": row.slice, "metric": row.metric, "k": row.k}
            values = {rival: pick(rows, variant=rival, **where).value for rival in rivals}
            assert values[row.over_best.base] == max(values.values()), "another kind's control is no rival"
            assert row.over_best.value == pytest.approx(row.value - max(values.values()))
            assert row.over_control.base == "itemcf"
        else:
            assert row.over_best is None, "what uses the answer key claims nothing"


def test_what_an_llm_wrote_is_compared_with_its_control_too(store):
    """Paired over the same users: value, interval and t are those of the difference, in every slice."""
    data, place = store
    ranks = {
        "observed": [0, 1, 0, 0, 3, 0],
        "discriminated": [2, 1, 0, 0, 3, 1],
        "itemcf": [0, 1, 2, 3, 0, 1],
    }
    ranks |= {"served": [1, 1, 1, 2, 1, 1], "served_itemcf": ranks["itemcf"], "random": [0] * 6}
    variants = {variant: [place(variant, own)] for variant, own in ranks.items()}
    rows = measure("swing", variants, data, SETTINGS, seed=1)
    users = np.array(TARGETS)[:, 0]
    values = {variant: per_user(users, np.array(own), SETTINGS.ks)[1] for variant, own in ranks.items()}
    for variant, control in (("discriminated", "itemcf"), ("served", "served_itemcf")):
        expected = stats.ttest_rel(values[variant], values[control])
        for m, metric in enumerate(METRICS):
            for at, k in enumerate(SETTINGS.ks):
                row = pick(rows, variant=variant, slice="all", metric=metric, k=k)
                difference = (values[variant] - values[control])[:, m, at]
                found = row.over_control
                assert (found.base, found.value) == (control, pytest.approx(difference.mean()))
                assert found.ci_low - 1e-9 <= found.value <= found.ci_high + 1e-9
                if difference.std() > 0:
                    assert (found.t, found.p) == pytest.approx(
                        (expected.statistic[m, at], expected.pvalue[m, at])
                    )
    others = {row.variant for row in rows if row.over_control is None}
    assert others >= {"observed", "itemcf", "served_itemcf", "random"}
    assert all(row.over_control for row in rows if row.variant == "served" and row.metric in METRICS)


def test_a_control_that_was_not_evaluated_is_not_compared_with(store):
    data, place = store
    variants = {"observed": [place("o", [0] * 6)], "generated": [place("g", [1, 0, 2, 1, 3, 1])]}
    assert all(row.over_control is None for row in measure("swing", variants, data, SETTINGS, 1))


def test_no_difference_between_users_has_no_t(store):
    data, place = store
    variants = {"observed": [place("o", [0] * 6)], "random": [place("r", [1, 1, 2, 1, 1, 2])]}
    row = pick(
        measure("swing", variants, data, SETTINGS, 1), variant="random", slice="all", metric="hit", k=1
    )
    assert row.value == 1 and row.t is row.p is None


def test_sampled_figures_appear_only_where_they_were_asked_for(store):
    data, place = store
    variants = {"observed": [place("o", [0, 1, 0, 0, 3, 0])]}
    assert not {row.metric for row in measure("swing", variants, data, SETTINGS, 1)} & set(SAMPLED_METRICS)
    settings = SETTINGS.model_copy(update={"sampled_negatives": 5})
    rows = measure("swing", variants, data, settings, 1)
    # The sampled ranks are one more than the ranks here.
    row = pick(rows, slice="all", metric="sampled_hit", k=1)
    assert row.value == pytest.approx((1 + 1 / 2 + 1 + 1 / 2) / 4)
    row = pick(rows, slice="all", metric="sampled_ndcg", k=3)
    assert row.value == pytest.approx((1 + (1 / np.log2(3) + 1) / 2 + 1 + 1 / 2) / 4)
