"""What the LLMs are worth, in the report: the figures of the workspace, and nothing where there are none."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.evaluation import evaluate
from longtail.recipe import Recipe
from longtail.recommenders import train
from longtail.report import report
from longtail.report.llm_words import POINTS, VALIDATIONS, lines, read_llm, sentences, tuned
from longtail.report.page import render
from longtail.workspace import Workspace
from tests.report.test_report_stage import write_store

RECIPE = Recipe.model_validate(
    {
        "name": "small",
        "variants": ["observed", "discriminated", "popular"],
        "recommenders": {"popularity": {}},
        "evaluation": {"bootstrap": 100, "protocol": "train-only"},
    }
)
SECTION = "What the LLMs are worth"


def figure(value: float) -> dict[str, float]:
    return {"value": value, "ci_low": value - 0.01, "ci_high": value + 0.02}


NOTHING = {"value": None, "ci_low": None, "ci_high": None}
BINS = [
    {
        "low": b / 10,
        "high": (b + 1) / 10,
        "count": b,
        "mean": b / 10 + 0.05 if b else None,
        "share": b / 11 if b else None,
    }
    for b in range(10)
]
NEXT_ITEM = {
    "k": 10,
    "items": 1682,
    "all": {"n": 943, "hit": figure(0.081), "ndcg": figure(0.04)},
    "tail": {"n": 77, "hit": figure(0.021), "ndcg": figure(0.011)},
    "perplexity": figure(310.5),
    "tokens": 943,
}
YES_NO = {
    "n": 943,
    "auc_random": figure(0.88),
    "auc_popular": figure(0.71),
    "accuracy": figure(0.8),
    "log_loss": figure(0.44),
    "calibration_error": 0.052,
    "bins": BINS,
}
PREFERENCE = {"n": 943, "accuracy": figure(0.77), "disagreement": figure(0.14)}
WORTH = {
    "generator": {"users": 943, "next_item": NEXT_ITEM},
    "discriminator": {"users": 943, "yes_no": YES_NO, "preference": PREFERENCE},
}


def write_curve(place, steps: int, every: int) -> pa.Table:
    rng = np.random.default_rng(0)
    step = np.arange(1, steps + 1)
    loss = 5 + 2 * np.exp(-step / steps * 4) + rng.normal(0, 0.3, steps)
    valid = [5.2 + abs(n - 0.7 * steps) / steps if n % every == 0 else None for n in step.tolist()]
    columns = {"lr": loss, "grad_norm": loss, "tokens": step * 800, "seconds": step * 0.5}
    table = pa.table({"step": step, "loss": loss, **columns, "valid_loss": pa.array(valid, pa.float64())})
    (place / "curve.parquet").write_table(table)
    return table


def publish(ws, role: str, steps: int = 60, every: int = 10) -> None:
    stage = ws.stage(f"llm/{role}", {})
    stage.counts = {"parameters": 1_234_567}
    with stage.publishing() as draft:
        (draft / "worth.json").write_json(WORTH[role])
        write_curve(draft, steps, every)


@pytest.fixture(scope="module")
def finished(ray_here, tmp_path_factory, write_data) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("llms")))
    write_store(ws, write_data)
    for stage in (train, evaluate, report):
        stage(RECIPE, ws)
    return ws


def read(ws) -> tuple[dict, str]:
    place = ws / "report"
    return (place / "metrics.json").read_json(), (place / "index.html").read_bytes().decode()


def test_the_report_has_the_section_once_the_llms_were_measured(finished):
    metrics, page = read(finished)
    assert "llms" not in metrics and SECTION not in page
    for role in WORTH:
        publish(finished, role)
    report(RECIPE, finished)
    metrics, page = read(finished)
    assert list(metrics["llms"]) == ["generator", "discriminator"]
    for role, llm in metrics["llms"].items():
        assert llm["worth"] == WORTH[role]
        assert (llm["base"], llm["parameters"]) == ("small", 1_234_567)
    assert SECTION in page and "8.1 % (7.1 % to 10.1 %) of 943 users" in page
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]\b", page), "a stand-in colour of the plots was not replaced"
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_recipe_without_an_llm_shows_none(tmp_path):
    ws = Workspace(str(tmp_path))
    publish(ws, "generator")
    assert list(tuned(RECIPE, ws)) == ["generator"]
    assert tuned(RECIPE.model_copy(update={"variants": ["observed"]}), ws) == {}


@pytest.mark.parametrize("name", ["worth.json", "curve.parquet", "_manifest.json"])
def test_an_llm_of_an_older_workspace_is_left_out(tmp_path, name):
    ws = Workspace(str(tmp_path))
    publish(ws, "generator")
    (ws / "llm/generator" / name).delete()
    assert tuned(RECIPE, ws) == {}


def test_the_curve_is_summed_up(tmp_path):
    ws = Workspace(str(tmp_path))
    publish(ws, "generator", steps=200, every=20)
    llm = read_llm(ws / "llm/generator")
    loss = (ws / "llm/generator/curve.parquet").read_table()["loss"].to_numpy()
    assert llm["tuning"] == {
        "steps": 200,
        "tokens": 160_000,
        "seconds": 100.0,
        "tokens_per_second": 1600.0,
        "train_loss": pytest.approx(loss[-8:].mean()),
        "valid_loss": pytest.approx(5.2),
        "best_step": 140,
    }
    assert llm["curve"]["validation"][6] == [140, pytest.approx(5.2)]
    for step, smooth in llm["curve"]["training"]:
        assert smooth == pytest.approx(loss[max(0, step - 8) : step].mean())


@settings(max_examples=20)
@given(steps=st.integers(1, 3000), every=st.integers(1, 50))
def test_a_curve_of_any_length_has_few_points_and_its_ends(tmp_path_factory, steps, every):
    ws = Workspace(str(tmp_path_factory.mktemp("curve")))
    publish(ws, "generator", steps, every)
    llm = read_llm(ws / "llm/generator")
    training, validation = (llm["curve"][name] for name in ("training", "validation"))
    assert len(training) == min(steps, POINTS) and len(validation) == min(steps // every, VALIDATIONS)
    assert (training[0][0], training[-1][0]) == (1, steps)
    assert (llm["tuning"]["valid_loss"] is None) == (every > steps)


def test_a_tuning_without_steps_has_no_curve(tmp_path):
    ws = Workspace(str(tmp_path))
    publish(ws, "generator", steps=0)
    llm = read_llm(ws / "llm/generator")
    assert llm["tuning"] is llm["curve"] is None


def test_nothing_is_said_of_what_nobody_was_asked(finished):
    ranks = {"n": 0, "hit": NOTHING, "ndcg": NOTHING}
    nobody = {"n": 0, "auc_random": NOTHING, "auc_popular": NOTHING, "accuracy": NOTHING, "log_loss": NOTHING}
    empty = [{"low": 0.0, "high": 0.1, "count": 0, "mean": None, "share": None}]
    worth = {
        "users": 0,
        "next_item": NEXT_ITEM | {"all": ranks, "tail": ranks, "perplexity": NOTHING},
        "yes_no": nobody | {"calibration_error": 0.0, "bins": empty},
        "preference": {"n": 0, "accuracy": NOTHING, "disagreement": NOTHING},
    }
    llm = {"worth": worth, "base": "small", "parameters": None, "tuning": None, "curve": None}
    assert sentences({"generator": llm}) == []
    assert {line["value"] for line in lines(worth)} <= {"–", "0.000"}
    metrics = read(finished)[0]
    assert SECTION in render(metrics | {"llms": {"generator": llm}})
    assert SECTION in render(metrics | {"llms": {"generator": llm | {"worth": {}}}})


def test_what_is_said_is_what_was_measured():
    said = sentences({role: {"worth": worth} for role, worth in WORTH.items()})
    assert said == [
        "The first 10 of 1,682 items in the ranking of the generator have the item that the user took next for 8.1 %"
        " (7.1 % to 10.1 %) of 943 users, and for 2.1 % (1.1 % to 4.1 %) if it is a long-tail item; a random list would"
        " have it for about 0.6 %.",
        "In pairs of a taken and a random item the discriminator gives the taken one the higher P(Yes) in 88.0 %"
        " (87.0 % to 90.0 %) of all pairs, in pairs of a taken and a popular item in 71.0 % (70.0 % to 73.0 %). On"
        " average P(Yes) is wrong by 5.2 percentage points.",
        "Asked which of two items the user took, the discriminator is right in 77.0 % (76.0 % to 79.0 %) of the pairs"
        " in which both orders give the same answer. In 14.0 % of all pairs the order decides.",
    ]


def test_names_in_the_section_are_escaped(finished):
    evil = "<script>alert(1)</script>"
    metrics = read(finished)[0]
    llm = {"worth": WORTH["generator"], "base": evil, "parameters": None, "tuning": None, "curve": None}
    page = render(metrics | {"llms": {"generator": llm}})
    assert evil not in page and "&lt;script&gt;alert(1)" in page
