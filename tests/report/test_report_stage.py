"""The two last stages over a small store, with real recommenders, the real ledger schema and real Ray."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import sem

from longtail.aggregation.fused import Fused
from longtail.aggregation.kinds import ALONE, KINDS, read_fusion
from longtail.aggregation.llm_lists import LLMLists
from longtail.data import read_histories
from longtail.errors import InputError
from longtail.evaluation import evaluate, targets
from longtail.evaluation.evaluated_runs import evaluated
from longtail.evaluation.slices import members
from longtail.recipe import Recipe, Serving
from longtail.recommenders import build, load, train
from longtail.recommenders.training.fits import ServedRun, list_runs, runs, served_runs
from longtail.report import report
from longtail.report.page import render
from longtail.rounds import FIRST_ROUND
from longtail.schema import ANSWERS, FUSED, OUTCOMES, RANKINGS
from longtail.variants import VARIANTS, label
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place
from tests.recommenders.conftest import SECTIONS, clusters

RECIPE = Recipe.model_validate(
    {
        "name": "small",
        "variants": ["observed", "discriminated", "popular"],
        "recommenders": {"popularity": {}, "itemcf": {"variants": ["observed", "discriminated"]}},
        "evaluation": {"ks": [3, 10], "bootstrap": 100, "protocol": "train-only"},
    }
)
N_USERS, N_ITEMS = 40, 25


def fitted_or_fused():
    """What is evaluated, without the lists alone."""
    return [run for run in evaluated(RECIPE) if not VARIANTS[run.variant].alone]


def test_what_is_served_is_evaluated_beside_every_fit_of_the_observed_log():
    def variants(**changes):
        recipe = Recipe.model_validate(RECIPE.model_dump() | changes)
        return [(run.recommender, run.variant, run.strategy) for run in served_runs(recipe, FIRST_ROUND)]

    assert variants() == [
        ("popularity", "served", "next_item"),
        ("popularity", "served_itemcf", "next_item"),
        ("popularity", "served_discriminated", "next_item"),
        ("itemcf", "served", "next_item"),
        ("itemcf", "served_itemcf", "next_item"),
        ("itemcf", "served_discriminated", "next_item"),
    ]
    assert variants(evaluation={"served": False}) == []
    alone = {"variants": ["observed"], "recommenders": {"itemcf": {}}}
    assert variants(**alone) == [], "no LLM is asked"


def write_store(ws, write_data) -> None:
    rng = np.random.default_rng(0)
    histories = [rng.permutation(N_ITEMS)[: rng.integers(4, 10)].tolist() for _ in range(N_USERS)]
    cuts = [(len(items) - 2, len(items) - 1) for items in histories]
    data = write_data(ws, histories, cuts, N_ITEMS)
    for name, n, key in (("users/0", N_USERS, "user"), ("items", N_ITEMS, "item")):
        taste = pa.array(list(np.eye(4, dtype=np.float32)[rng.integers(0, 4, n)]))
        (data / "truth" / f"{name}.parquet").write_table(
            pa.table({key: pa.array(range(n), pa.int32()), "taste": taste})
        )
    for variant in RECIPE.variants:
        added = [[] if variant == "observed" else rng.integers(0, N_ITEMS, 3).tolist() for _ in histories]
        train_part = [items[:train_end] for items, (train_end, _) in zip(histories, cuts, strict=True)]
        lists = [own + more for own, more in zip(train_part, added, strict=True)]
        weights = [[1.0] * len(own) + [0.3] * len(more) for own, more in zip(train_part, added, strict=True)]
        columns = (range(N_USERS), lists, weights, [len(own) for own in train_part])
        rows = [dict(zip(FUSED.names, row, strict=False)) for row in zip(*columns, strict=True)]
        table = pa.Table.from_pylist(rows, FUSED)
        with ws.stage(f"fused/{variant}", {}, [data]).publishing() as draft:
            (draft / "interactions" / "0.parquet").write_table(table)
    answer = {
        "strategy": "next_item",
        "prompt_tokens": 9,
        "output_tokens": 1,
        "seconds": 0.5,
        "questions": 4,
        "judge_questions": 2,
        "judge_tokens": 5,
        "judge_seconds": 0.25,
    }
    answers = [
        answer
        | {"request_id": str(user), "user": user, "proposals": [{"outcome": outcome} for outcome in OUTCOMES]}
        for user in range(N_USERS)
    ]
    with ws.stage("augmentation/next_item", {}, [data]).publishing() as draft:
        (draft / "answers" / "0.parquet").write_table(pa.Table.from_pylist(answers, schema=ANSWERS))
        lists = [
            rng.permutation(np.setdiff1d(range(N_ITEMS), own[:-2]))[:8].tolist() for own in histories[1:]
        ]
        scores = [np.linspace(0.9, 0.1, len(own)).tolist() for own in lists]
        ranked = pa.table([range(1, N_USERS), lists, scores], schema=RANKINGS)
        (draft / "rankings" / "0.parquet").write_table(ranked.slice(20))
        (draft / "rankings" / "1.parquet").write_table(ranked.slice(0, 20))


@pytest.fixture(scope="module")
def finished(ray_here, tmp_path_factory, write_data) -> Workspace:
    """A workspace after train, evaluate and report."""
    ws = Workspace(str(tmp_path_factory.mktemp("store")))
    write_store(ws, write_data)
    for stage in (train, evaluate, report):
        stage(RECIPE, ws)
    return ws


@pytest.fixture(scope="module")
def metrics(finished) -> dict:
    return (finished / "report" / "metrics.json").read_json()


def test_ranks_are_of_every_held_out_item_of_the_catalogue(finished):
    for run in evaluated(RECIPE):
        ranks = (finished / run.evaluation / "ranks").read_table()
        assert sorted(ranks["user"].to_pylist()) == list(range(N_USERS))
        assert max(ranks["rank"].to_pylist()) <= 10
        exposure = (finished / run.evaluation / "exposure.parquet").read_table()
        assert exposure["item"].to_pylist() == list(range(N_ITEMS))
        assert 0 < sum(exposure["count"].to_pylist()) <= 10 * N_USERS
        counts = read_manifest(finished / run.evaluation)["counts"]
        assert {"users": N_USERS, "targets": N_USERS}.items() <= counts.items()


def copy_of(ws: Workspace, to: Path) -> Workspace:
    shutil.copytree(ws.root.path, to)
    return Workspace(str(to))


def with_evaluation(**changes) -> Recipe:
    return RECIPE.model_copy(update={"evaluation": RECIPE.evaluation.model_copy(update=changes)})


def test_parts_in_tasks_of_their_own_find_what_one_task_finds(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "USERS_PER_PART", 1)
    monkeypatch.setattr(import_module("longtail.evaluation.evaluate_stage"), "TASKS_AT_ONCE", 1)
    again, recipe = copy_of(finished, tmp_path / "again"), with_evaluation(sampled_negatives=3)
    evaluate(recipe, again)
    for run in evaluated(RECIPE):
        whole, parts = finished / run.evaluation, again / run.evaluation
        assert len((parts / "ranks").files()) == 2
        ranks = (parts / "ranks").read_table()
        assert (whole / "ranks").read_table().drop(["sampled_rank"]).equals(ranks.drop(["sampled_rank"]))
        assert set(ranks["sampled_rank"].to_pylist()) <= {1, 2, 3, 4}
        exposures = [(place / "exposure.parquet").read_table() for place in (whole, parts)]
        assert exposures[0].equals(exposures[1])
        assert read_manifest(parts)["counts"] == read_manifest(whole)["counts"]

    report(recipe, again)
    metrics = (again / "report" / "metrics.json").read_json()
    assert {"sampled_hit", "sampled_ndcg"} <= {row["metric"] for row in metrics["rows"]}
    page = (again / "report" / "index.html").read_bytes().decode()
    assert "Sampled ranking, not comparable" in page and "among 3 random items" in page


def test_a_catalogue_that_changed_since_the_training_is_named(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    items = (other / "data/items.parquet").read_table()
    (other / "data/items.parquet").write_table(pa.concat_tables([items, items.slice(0, 1)]))
    with pytest.raises(InputError, match=r"-0: .*25 items.* 26.*longtail train"):
        evaluate(with_evaluation(ks=[12]).model_copy(update={"variants": ["observed"]}), other)
    assert not [file for file in other.root.files() if "/.draft-" in file.path]
    assert (other / "evaluation/observed/popularity-0/ranks").exists(), "what was published before stays"


@pytest.mark.parametrize("name", SECTIONS)
def test_a_recommender_ranks_from_the_object_store(ray_here, name):
    # Arrays that come out of it cannot be written to.
    import ray

    model = build(name, SECTIONS[name]).fit(clusters())
    users = np.arange(60)
    shared = ray.get(ray.put(model))
    np.testing.assert_array_equal(shared.recommend(users, 5), model.recommend(users, 5))


def test_metrics_have_the_agreed_shape(metrics):
    assert list(metrics) == [
        "recipe",
        "dataset",
        "commit",
        "rows",
        "proposals",
        "cost",
        "strategies",
        "lift_per_cost",
        "category",
        "training_sets",
        "labels",
        "stages",
        "choice",
        "spent",
        "verdict",
        "example",
        "serving",
        "precision",
    ]
    assert metrics["recipe"] == RECIPE.model_dump(mode="json")
    keys = [
        "recommender",
        "variant",
        "slice",
        "metric",
        "k",
        "value",
        "n",
        "targets",
        "lift",
        "ci_low",
        "ci_high",
        "t",
        "p",
        "pairs",
        "over_control",
        "over_best",
        "p_adjusted",
    ]
    assert all(list(row) == keys for row in metrics["rows"])
    fits = {(row["recommender"], row["variant"]) for row in metrics["rows"]}
    lists = {(name, one) for name in RECIPE.recommenders for one in ("list", "list_itemcf")}
    assert fits == {(run.recommender, run.variant) for run in fitted_or_fused()} | lists
    assert {row["metric"] for row in metrics["rows"]} == {
        *("recall", "hit", "ndcg", "mrr"),
        *("coverage", "gini", "popularity", "exposure"),
    }
    for row in metrics["rows"]:
        assert row["n"] > 0
        if row["variant"] == "observed":
            assert row["lift"] is row["ci_low"] is row["ci_high"] is None
        elif row["ci_low"] is not None:
            assert row["ci_low"] <= row["ci_high"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_value_equals_its_count_by_hand(finished, metrics):
    ranks = (finished / "evaluation/discriminated/itemcf-0/ranks").read_table()["rank"].to_numpy()
    wanted = {"recommender": "itemcf", "variant": "discriminated", "slice": "all", "metric": "hit", "k": 3}
    (row,) = [row for row in metrics["rows"] if wanted.items() <= row.items()]
    assert row["value"] == pytest.approx(((ranks > 0) & (ranks <= 3)).mean())
    assert row["n"] == N_USERS


def test_the_report_says_what_is_served_by_validation_alone(finished, metrics):
    choice = metrics["choice"]
    assert [(one["recommender"], one["variant"]) for one in choice["figures"]] == [
        (run.recommender, run.variant) for run in fitted_or_fused()
    ], "a list alone is not fused, and never served"
    for run, one in zip(fitted_or_fused(), choice["figures"], strict=True):
        found = read_manifest(finished / run.evaluation)["counts"]["validation"]
        assert found == {"users": N_USERS, "ndcg": one["ndcg"]}
    kept = [one for one in choice["figures"] if not one["lost"]]
    kinds = {own: [one for one in kept if one["control"] == own] for own in (True, False)}
    highest = {own: max(one["ndcg"] for one in of_kind) for own, of_kind in kinds.items()}
    assert choice["served"] == choice["best"] and choice["best"]["ndcg"] == highest[False]
    assert choice["control"]["ndcg"] == highest[True] and choice["fault"] is None
    page = (finished / "report" / "index.html").read_bytes().decode()
    assert "Served, as validation chose: " in page and page.count(" · served</td>") == 1
    assert ("A control is better on validation" in page) == (highest[True] > highest[False])
    free = choice["free"]
    assert free["ndcg"] == max(one["free"] for one in choice["figures"] if not one["control"])
    cost = free["ndcg"] - highest[False]
    assert cost > 0, "here the best for all users loses a slice"
    assert f"loses tail or sparse on validation; that cost {cost:.4f} NDCG@10 of all users there" in page


def test_what_a_fit_loses_is_its_difference_by_hand(finished, metrics):
    """On each slice, user by user, from the ranks of the validation items; more than one standard error is too much."""
    inside = {
        "tail": members("items:tail", finished / "data"),
        "sparse": members("users:sparse", finished / "data"),
    }
    figures = {(one["recommender"], one["variant"]): one for one in metrics["choice"]["figures"]}
    lossy = 0
    for run in (run for run in fitted_or_fused() if not isinstance(run, ServedRun)):
        own, base = (
            (finished / f"evaluation/{variant}/{run.recommender}-0/validation/ranks")
            .read_table()
            .sort_by("user")
            for variant in (run.variant, "observed")
        )
        users, items = own["user"].to_numpy(), own["item"].to_numpy()
        gains = [
            np.array([1 / np.log2(r + 1) if r else 0 for r in table["rank"].to_pylist()])
            for table in (own, base)
        ]
        expected = {}
        for name, of in inside.items():
            difference = (gains[0] - gains[1])[of(users, items)]
            if (
                len(difference)
                and difference.mean() < -(sem(difference) if len(difference) > 1 else 0) - 1e-12
            ):
                expected[name] = pytest.approx(difference.mean())
        assert figures[run.recommender, run.variant]["lost"] == expected
        lossy += bool(expected)
    assert lossy


def test_a_figure_on_validation_is_its_count_by_hand(finished):
    found = read_manifest(finished / "evaluation/discriminated/itemcf-0")["counts"]["validation"]
    model, histories = (
        load(finished / "recommenders/discriminated/itemcf-0"),
        read_histories(finished / "data"),
    )
    lists, total = model.recommend(np.arange(N_USERS), 10)[0].tolist(), 0.0
    for own, items, end in zip(
        lists, histories["items"].to_pylist(), histories["train_end"].to_pylist(), strict=True
    ):
        total += 1 / np.log2(own.index(items[end]) + 2) if items[end] in own else 0
    assert found["ndcg"] == pytest.approx(total / N_USERS)


def test_a_recipe_that_names_what_is_served_is_told_beside_the_best(finished, metrics, tmp_path):
    again = copy_of(finished, tmp_path / "again")
    serving = Serving(recommender="popularity", variant="observed", alpha_1=0.25)
    report(RECIPE.model_copy(update={"serving": serving}), again)
    choice = (again / "report" / "metrics.json").read_json()["choice"]
    assert (choice["served"]["recommender"], choice["served"]["fusion"]["alpha_1"]) == ("popularity", 0.25)
    assert choice["best"] == metrics["choice"]["best"]
    page = (again / "report" / "index.html").read_bytes().decode()
    assert "Served, as the recipe names it: Popularity of observed" in page and "not evaluated" in page
    assert "Best on validation is " in page


def test_the_user_of_the_example_is_the_first_whose_list_changed(finished, metrics):
    """Found again one user at a time. Every user of the store has a test item."""
    found = metrics["example"]
    figures = {
        one["variant"]: one
        for one in metrics["choice"]["figures"]
        if one["recommender"] == found["recommender"]
    }
    histories = (finished / "data/histories").read_table().to_pylist()
    titles = (finished / "data/items.parquet").read_table().to_pylist()
    fit = f"recommenders/{figures[found['variant']]['trained_on']}/{found['recommender']}-0"
    old = load(finished / f"recommenders/observed/{found['recommender']}-0")
    new = load(finished / fit)
    if figures[found["variant"]]["list"]:
        told = figures[found["variant"]]
        choice = read_fusion(told["fusion"])
        lists = LLMLists.read(finished / "augmentation/next_item/rankings", N_USERS)
        new = Fused(new, lists, None, told["candidates"], choice)
    for user in (one for one in histories if one["slice"] == "sparse"):
        before, after = (one.recommend(np.array([user["user"]]), 10)[0][0].tolist() for one in (old, new))
        if before != after:
            break
    held_out = user["items"][user["valid_end"] :]
    assert (found["sparse"], found["user_id"]) == (True, user["user_id"])
    for name, items in (("before", before), ("after", after)):
        items = [item for item in items if item >= 0]
        assert [one["title"] for one in found[name]] == [titles[item]["title"] for item in items]
        assert [one["taken_later"] for one in found[name]] == [item in held_out for item in items]
    assert found["later"] == [titles[item]["title"] for item in held_out]
    known = user["items"][: user["train_end"]]
    assert found["taken"] == {
        "latest": [titles[item]["title"] for item in known[-5:]],
        "more": max(0, len(known) - 5),
    }


def test_the_page_opens_with_the_verdict_its_words_and_the_user(metrics):
    said = ["Serve Swing trained on judged: it is <b>.", "It is over its best rival, itemcf."]
    page = render(metrics | {"verdict": {"sentences": said, "serve": None}})
    opening = page[page.index("<header>") : page.index("</header>")]
    assert "<h1>Serve Swing trained on judged:</h1>" in opening and "it is &lt;b&gt;." in opening
    words = re.findall(r"<dt>(.*?)</dt>", opening)
    assert words == ["judged", "trained on", "best rival", "itemcf"]
    assert (
        page.index("One user, before and after")
        < page.index("Lift in Recall@10")
        < page.index("What else the figures")
    )
    assert "One user" not in render(metrics | {"example": None})


def test_what_the_user_took_later_is_marked_in_the_lists(metrics):
    shown = {"title": "Kettle & Co", "slice": "tail", "taken_later": True}
    example = metrics["example"] | {
        "before": [shown | {"title": "Pan", "taken_later": False}],
        "after": [shown],
    }
    page = render(metrics | {"example": example})
    assert page.count('<i class="hit">taken later</i>') == 1 and page.count("<i>new</i>") == 1
    assert "<b>Kettle &amp; Co</b>" in page and page.count('<i class="rare">long tail</i>') == 2


def test_a_report_that_is_replaced_stays(finished, tmp_path):
    again = copy_of(finished, tmp_path / "again")
    first = (again / "report/metrics.json").read_json()
    report(
        RECIPE.model_copy(update={"serving": Serving(recommender="popularity", variant="observed")}), again
    )
    assert (
        (again / "reports/1/metrics.json").read_json() == first != (again / "report/metrics.json").read_json()
    )


def test_the_manifest_and_the_report_say_how_lists_were_fused(finished, metrics):
    assert len(metrics["serving"]) == len(served_runs(RECIPE, FIRST_ROUND))
    for run, told in zip(served_runs(RECIPE, FIRST_ROUND), metrics["serving"], strict=True):
        assert (told["recommender"], told["variant"]) == (run.recommender, run.variant)
        known = read_manifest(finished / run.evaluation)["counts"]["serving"]
        assert known.items() <= told.items()
        assert known["validation_users"] == N_USERS
        assert known["validation_ndcg"] >= known["validation_ndcg_alone"]
    page = (finished / "report" / "index.html").read_bytes().decode()
    assert "How lists were fused" in page and "log and list" in page


def test_itemcf_fused_with_its_own_list_is_itemcf(finished):
    """The control of the recommender that makes the control's list changes nothing."""
    own = read_manifest(finished / "evaluation/served_itemcf/itemcf-0")["counts"]["serving"]
    assert own["fusion"] == ALONE.told() and own["validation_ndcg"] == own["validation_ndcg_alone"]
    places = [finished / f"evaluation/{variant}/itemcf-0/ranks" for variant in ("observed", "served_itemcf")]
    alone, fused = (place.read_table() for place in places)
    found = alone["rank"].to_numpy() > 0
    assert (fused["rank"].to_numpy()[found] == alone["rank"].to_numpy()[found]).all()


def test_a_list_alone_is_the_list_and_nothing_after_it(finished):
    """The LLM's, and as many of ItemCF's; as the list of one user is that of no recommender, it is evaluated once."""
    lists = {
        row["user"]: row["items"]
        for row in (finished / "augmentation/next_item/rankings").read_table().to_pylist()
    }
    best = (
        load(finished / "recommenders/observed/itemcf-0").recommend(np.arange(N_USERS), N_ITEMS)[0].tolist()
    )
    of_itemcf = {user: best[user][: len(items)] for user, items in lists.items()}
    places = [run.evaluation for run in list_runs(RECIPE, FIRST_ROUND)]
    assert places == ["evaluation/list/popularity-0", "evaluation/list_itemcf/popularity-0"]
    for place, own in zip(places, (lists, of_itemcf), strict=True):
        assert "serving" not in read_manifest(finished / place)["counts"], "nothing is chosen"
        for user, item, rank, *_ in (
            (finished / place / "ranks").read_table().to_pandas().itertuples(index=False)
        ):
            named = own.get(user, [])
            assert rank == (named.index(item) + 1 if item in named else 0)


def test_other_lists_are_ranked_again_and_nothing_else(finished, tmp_path):
    again = copy_of(finished, tmp_path / "again")
    with again.stage("augmentation/next_item", {"new": 1}, [again / "data"]).publishing() as draft:
        (draft / "rankings").upload(f"{finished}/augmentation/next_item/rankings")
    evaluate(RECIPE, again)
    for run in evaluated(RECIPE):
        same = read_manifest(again / run.evaluation) == read_manifest(finished / run.evaluation)
        assert same == (not isinstance(run, ServedRun))


def test_proposals_add_up_and_costs_are_those_of_the_ledger(metrics):
    assert metrics["proposals"] == dict.fromkeys(OUTCOMES, N_USERS)
    assert metrics["cost"]["requests"] == metrics["cost"]["accepted"] == N_USERS
    assert metrics["cost"]["questions"] == 4 * N_USERS
    assert metrics["cost"]["tokens_per_accepted"] == 15
    assert metrics["cost"]["engine_seconds"] == pytest.approx(0.75 * N_USERS)
    (own,) = metrics["strategies"].values()
    assert own == metrics["cost"] | {"outcomes": metrics["proposals"]}, "there is one strategy"
    assert list(metrics["stages"]) == ["prepare", "augment", "fuse", "train", "evaluate"]
    assert metrics["stages"]["train"]["units"] == len(runs(RECIPE, FIRST_ROUND))


def test_lift_is_divided_by_the_tokens_of_the_variants_that_asked(metrics):
    found = metrics["lift_per_cost"]
    variants = {one["variant"] for one in found}
    assert variants == {"discriminated", "served", "served_discriminated"}
    for one in found:
        wanted = {name: one[name] for name in ("recommender", "variant", "metric", "k")} | {"slice": "all"}
        (row,) = [row for row in metrics["rows"] if wanted.items() <= row.items()]
        assert one["cost"] == pytest.approx(15 * N_USERS / 1e6)
        assert one["per_unit"] == pytest.approx(row["lift"] / one["cost"])
        assert (one["ci_low"] > 0) == (row["ci_low"] > 0)


def test_every_training_set_is_described_and_the_page_shows_those_that_gained(finished, metrics):
    assert set(metrics["training_sets"]) == set(RECIPE.training_sets)
    added = {name: one["parts"]["added"]["interactions"] for name, one in metrics["training_sets"].items()}
    assert added == {"observed": 0, "discriminated": 3 * N_USERS, "popular": 3 * N_USERS}
    page = (finished / "report" / "index.html").read_bytes().decode()
    assert "+ judged</td>" in page and "+ popular</td>" in page and "+ observed</td>" not in page


def test_a_price_table_prices_the_page(metrics):
    prices = metrics["recipe"]["prices"] | {"currency": "thalers"}
    priced = {"money": 2.5, "money_per_1000_accepted": 1234.0}
    page = render(
        metrics
        | {"recipe": metrics["recipe"] | {"prices": prices}, "cost": metrics["cost"] | priced}
        | {"strategies": {name: one | priced for name, one in metrics["strategies"].items()}}
    )
    assert "1,000 accepted proposals cost 1,234 thalers." in page and "Lift for each thalers" in page
    assert "price, thalers" not in render(metrics)


def test_nothing_accepted_has_a_page(metrics):
    nothing = {
        name: None if name.endswith("_accepted") else 0 if name == "accepted" else value
        for name, value in metrics["cost"].items()
    }
    strategies = {"next_item": nothing | {"outcomes": metrics["proposals"]}}
    page = render(metrics | {"cost": nothing, "strategies": strategies, "training_sets": {}, "labels": {}})
    assert (
        f"0 of {N_USERS * len(OUTCOMES)} proposals were accepted" in page
        and "What was added to the log" not in page
    )


def test_precision_is_of_the_variants_that_add(metrics):
    assert list(metrics["precision"]) == ["discriminated", "popular"]
    assert metrics["precision"]["popular"]["n"] == 3 * N_USERS


def test_finished_stages_do_nothing_and_new_ks_rank_nothing_again(finished):
    def stamps():
        return {place: manifest["seconds"] for place, manifest in finished.manifests().items()}

    before = stamps()
    evaluate(RECIPE, finished)
    report(RECIPE, finished)
    assert stamps() == before
    evaluate(with_evaluation(ks=[5]), finished)
    assert stamps() == before


def test_a_missing_stage_is_named(tmp_path, write_data):
    ws = Workspace(str(tmp_path))
    with pytest.raises(InputError, match="longtail prepare"):
        evaluate(RECIPE, ws)
    write_store(ws, write_data)
    with pytest.raises(InputError, match="longtail train"):
        evaluate(RECIPE, ws)
    with pytest.raises(InputError, match="longtail evaluate"):
        report(RECIPE, ws)


@pytest.mark.parametrize("changes", [{"ks": [3, 40]}, {"sampled_negatives": 5}])
def test_ranks_that_do_not_reach_what_the_recipe_asks_for_are_named(finished, changes):
    with pytest.raises(InputError, match="'depth': 10.*Run longtail evaluate"):
        report(with_evaluation(**changes), finished)


def test_the_page_tells_the_interval_and_p_of_a_figure(finished):
    page = (finished / "report" / "index.html").read_bytes().decode()
    wanted = r'title="difference [−+]?0\.\d{4} to [−+]?0\.\d{4}, p = 0\.\d{3}, users\' variance only"'
    assert re.search(wanted, page.replace("&#39;", "'"))
    assert "it has the users' variance only" in page.replace("&#39;", "'")


def test_few_targets_are_grey_and_claim_nothing(metrics):
    """The store has 40 targets. With more the same page speaks."""
    page = render(metrics)
    assert f"The test has {N_USERS} targets: too few to say" in page
    assert page.count("fewer than 100: in grey, and nothing is claimed") == page.count("<figure>\n      <h3>")
    assert 'class="thin"' in page and not re.search(r'class="sure">0\.\d{4}<', page)
    many = with_many_targets(metrics["rows"])
    assert "Interactions written by an LLM" in render(metrics | {"rows": many}), "the headline"
    assert 'class="thin"' not in render(metrics | {"rows": many})


def with_many_targets(rows):
    return [row | {"targets": 1000} for row in rows]


def test_what_the_corrected_test_carries_is_bold_and_said(metrics):
    over = {
        "base": "popular",
        "value": 0.0321,
        "ci_low": 0.01,
        "ci_high": 0.05,
        "t": 4.4,
        "p": 0.001,
        "pairs": 3,
    }
    rows = [
        row | {"over_best": over, "pairs": 3, "p_adjusted": 0.02 if row["recommender"] == "itemcf" else 0.2}
        if (row["variant"], row["metric"], row["k"], row["slice"]) == ("discriminated", "recall", 10, "all")
        else row
        for row in with_many_targets(metrics["rows"])
    ]
    page = render(metrics | {"rows": rows}).replace("&#39;", "'")
    assert page.count('class="sure">+0.0321 · t +4.4 (popular)') == 1
    assert page.count(">+0.0321 · t +4.4 (popular)") == 2
    assert "that of 3 pairs, each of one generator and one seed" in page
    assert "corrected for all 2 such comparisons" in page
    assert "Of 2 comparisons with the best of observed and controls 1 is surely higher" in page


def test_items_ranked_again_are_judged_where_their_order_counts(metrics):
    assert "Items that the LLM ranked again" not in render(metrics)
    rows = [
        row
        | {
            "variant": {"served": "served_ranking", "list": "list_ranking"}.get(
                row["variant"], row["variant"]
            )
        }
        for row in metrics["rows"]
    ]
    page = render(metrics | {"rows": rows})
    table = page[page.index("Items that the LLM ranked again, at 3<") :]
    table = table[: table.index("</details>")]
    assert "Recall@3" in table and "NDCG@3" in table and "@10" not in table
    for variant in ("observed", "served_ranking", "list_ranking"):
        assert f'<td class="word">{label(variant)}</td>' in table
    assert label("popular") not in table


class Links(HTMLParser):
    """Collects what a page would load or run, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.loaded = set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        wanted = ("src", "href", "xlink:href", "srcset", "data")
        self.loaded += [value for name, value in attributes if name in wanted and not value.startswith("#")]


def test_the_page_loads_and_runs_nothing(finished):
    page = (finished / "report" / "index.html").read_bytes().decode()
    found = Links()
    found.feed(page)
    assert found.loaded == []
    assert not found.tags & {"script", "link", "iframe", "img", "object"}
    assert not re.search(r"url\((?!#)|@import", page)
    assert {"svg", "table", "h1"} <= found.tags
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]\b", page), "a stand-in colour of the plots was not replaced"


def with_category(training_set, name):
    """A training set's figures with a category that has all of it."""
    parts = {
        part: own | {"shares": own["shares"] | {f"category:{name}": 1.0}}
        for part, own in training_set["parts"].items()
    }
    return training_set | {"parts": parts}


def test_the_page_says_where_the_control_is_not_tuned(metrics):
    """ItemCF by its defaults once stood as the control of an LLM whose judge had been tuned, and nothing said so."""
    recommenders = metrics["recipe"]["recommenders"] | {"itemcf": None}
    untuned = metrics | {"recipe": metrics["recipe"] | {"recommenders": recommenders}}
    words = "a lift over it may be a lift over a poor control"
    assert words in render(untuned) and words not in render(metrics)
    others = [row for row in metrics["rows"] if "itemcf" not in row["variant"]]
    assert words not in render(untuned | {"rows": others}), "nothing is held against ItemCF there"


def test_the_page_escapes_all_data(metrics):
    evil = "<script>alert(1)</script>"
    spoiled = metrics | {
        "commit": evil,
        "recipe": metrics["recipe"] | {"name": evil, "note": f"</pre>{evil}"},
        "dataset": metrics["dataset"] | {"dropped": {evil: 3}, evil: 4},
        "proposals": {evil: 2},
        "category": evil,
        "training_sets": {name: with_category(one, evil) for name, one in metrics["training_sets"].items()},
        "stages": {evil: {"seconds": 1.0, "units": 1}},
    }
    page = render(spoiled)
    assert evil not in page
    assert page.count("&lt;script&gt;") >= 7


def test_the_page_of_real_data_has_no_truth(metrics):
    page = render({name: value for name, value in metrics.items() if name != "precision"})
    assert "truly likes" not in page and "Sampled ranking" not in page


def test_the_page_of_a_simulated_store_says_how_much_titles_tell(metrics):
    """A reader must see how kind the store is to an LLM that reads titles."""
    page = render(metrics | {"dataset": metrics["dataset"] | {"title_signal": 0.25}})
    assert "title signal 0.25" in page and "in 25 % of the cases" in page
    assert "title signal" not in render(metrics)


def test_a_slice_that_observed_never_hits_is_shown_without_a_lift(metrics):
    rows = [
        row | ({"value": 0.0} if row["variant"] == "observed" else {"lift": None}) for row in metrics["rows"]
    ]
    page = render(metrics | {"rows": rows})
    values = {row["value"] for row in rows if row["variant"] == "popular" and row["metric"] == "recall"}
    assert any(f">+{value:.4f}<" in page for value in values), "the difference stands in place of the lift"


def test_every_variant_has_its_row_its_mark_and_its_difference_from_the_control(metrics):
    (of_popular,) = [
        row | {"over_control": {"base": "itemcf", "value": 0.0123, "t": 4.56}}
        for row in metrics["rows"]
        if (row["recommender"], row["variant"], row["slice"]) == ("popularity", "popular", "all")
        and (row["metric"], row["k"]) == ("recall", 10)
    ]
    rows = [row for row in metrics["rows"] if row["variant"] == "observed"]
    page = render(
        metrics | {"rows": rows + [of_popular | {"variant": variant} for variant in list(VARIANTS)[1:]]}
    )
    assert page.count("+0.0123 · t +4.6") == len(VARIANTS) - 1
    places = [page.index(f'<td class="word">{label(variant)}</td>') for variant in VARIANTS]
    assert places == sorted(places)


def test_a_run_without_any_variant_says_so(metrics):
    rows = [row for row in metrics["rows"] if row["variant"] == "observed"]
    page = render(metrics | {"rows": rows})
    assert "No LLM variant was evaluated" in page and "Nothing was compared" in page


def test_a_recipe_of_recommenders_alone_speaks_of_them(metrics):
    """Nothing of lifts or of what an LLM cost; the figures are open and the headline names the best on validation."""
    rows = [row for row in metrics["rows"] if row["variant"] == "observed"]
    recipe = metrics["recipe"] | {"variants": ["observed"]}
    wanted = ("recall", 10, "all")
    values = {
        row["recommender"]: row["value"] for row in rows if (row["metric"], row["k"], row["slice"]) == wanted
    }
    worst = min(values, key=values.get)
    (figure,) = (
        one
        for one in metrics["choice"]["figures"]
        if (one["recommender"], one["variant"]) == (worst, "observed")
    )
    choice = {"figures": [figure], "best": figure, "served": figure, "control": None, "fault": None}
    page = render(metrics | {"rows": rows, "recipe": recipe, "choice": choice})
    assert f"is best on validation: Recall@10 {values[worst]:.4f} on the test." in page, (
        "not the best on test"
    )
    assert "Lift in" not in page and "Cost of asking" not in page and "<details open>" in page


def ndcg_of(place: Place) -> np.ndarray:
    """NDCG@10 of each user; each has one target."""
    rank = (place / "ranks").read_table().sort_by("user")["rank"].to_numpy()
    return np.where((rank > 0) & (rank <= 10), 1 / np.log2(np.maximum(rank, 1) + 1), 0.0)


def test_kinds_of_fusion_are_compared_only_if_the_recipe_asks(finished, metrics, tmp_path):
    page = (finished / "report/index.html").read_bytes().decode()
    assert "kinds" not in metrics and "Kinds of fusion" not in page
    again, recipe = copy_of(finished, tmp_path / "again"), with_evaluation(kinds=True)
    evaluate(recipe, again)
    report(recipe, again)
    new = {
        place
        for place, manifest in again.manifests().items()
        if manifest["finished"] != (read_manifest(finished / place) or {}).get("finished")
    }
    served = [run for run in served_runs(RECIPE, FIRST_ROUND) if not run.stand_in]
    evaluated_again = {run.evaluation for run in served}
    assert new - {"aggregator", "evaluation/validation", "report"} - evaluated_again <= {"reports/1"}
    found = (again / "report/metrics.json").read_json()
    assert [row["value"] for row in found["rows"]] == [row["value"] for row in metrics["rows"]]
    for run in served:
        own = [
            row
            for row in found["kinds"]
            if (row["recommender"], row["variant"]) == (run.recommender, run.variant)
        ]
        assert list(dict.fromkeys(row["kind"] for row in own)) == ["recommender", "list", *KINDS]
        counts = read_manifest(again / run.evaluation)["counts"]["serving"]
        places = {kind: again / run.evaluation / f"kinds/{kind}" for kind in KINDS}
        for kind, place in places.items():
            if counts["kinds"][kind]["fusion"] == counts["fusion"]:
                assert ndcg_of(place).tolist() == ndcg_of(again / run.evaluation).tolist()
        places |= {"recommender": again / run.fit.evaluation, "list": again / "evaluation/list/popularity-0"}
        ndcg = {kind: ndcg_of(place) for kind, place in places.items()}
        assert any(not np.array_equal(ndcg[kind], ndcg["recommender"]) for kind in KINDS)
        for row in own:
            if (row["metric"], row["k"], row["slice"]) == ("ndcg", 10, "all"):
                assert row["value"] == pytest.approx(ndcg[row["kind"]].mean()) and row["n"] == N_USERS
                for base, over in row["over"].items():
                    difference = ndcg[row["kind"]] - ndcg[base]
                    assert over["value"] == pytest.approx(difference.mean()) and over["base"] == base
                    assert (over["t"] is None) == (np.ptp(difference) == 0)
                better = max(("recommender", "list"), key=lambda part, ndcg=ndcg: ndcg[part].mean())
                assert row["better"] == better
    page = (again / "report/index.html").read_bytes().decode()
    assert "Kinds of fusion, NDCG@10" in page and "recommender alone" in page and "over list alone" in page
