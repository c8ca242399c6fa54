"""The main job on the real engines: DeepSpeed with two workers, two vLLM pools, Ray Train, a report.

One small data set goes through every stage by the command line, as a user would do it.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.schema import ACCEPTED, OUTCOMES
from tests.stack.processes import longtail

RECIPE = """
name: small
seed: 5
dataset: {source: simulated, simulation: {users: 300, items: 120, tastes: 6}}
generator: {epochs: 6, zero: 2}
discriminator: {epochs: 1}
augment: [{strategy: next_item, proposals: 8, tail_share: 0.25}]
recommenders:
  itemcf: {}
  swing: {}
  sasrec: {variants: [observed, discriminated], epochs: 2}
evaluation: {bootstrap: 200, protocol: train-only}
resources: {llm_workers: 2, workers: 2}
"""
pytestmark = pytest.mark.timeout(3600)  # the fixture runs the whole job


def answers(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.rglob("*.parquet"))])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict:
    """A workspace with a finished run."""
    folder = tmp_path_factory.mktemp("main-job")
    recipe, ws = folder / "small.yaml", folder / "run"
    recipe.write_text(RECIPE)
    longtail("run", recipe, "-w", ws, timeout=1500)
    return {"recipe": recipe, "ws": ws}


def test_every_request_and_every_question_has_exactly_one_answer(finished):
    ws = finished["ws"]
    ids = answers(ws / "ledger/next_item")["request_id"].to_pylist()
    users = pq.read_table(ws / "data" / "histories").filter(pa.compute.field("train_end") > 0).num_rows
    assert len(ids) == len(set(ids)) == users
    questions = answers(ws / "ledger/yes_no")["question"].to_pylist()
    manifest = json.loads((ws / "augmentation/next_item/_manifest.json").read_text())
    assert len(questions) == len(set(questions)) == manifest["counts"]["judge_questions"] > 0


def test_outcomes_add_up_and_no_accepted_proposal_is_seen(finished):
    ws = finished["ws"]
    histories = {row["user"]: row for row in pq.read_table(ws / "data" / "histories").to_pylist()}
    counts = dict.fromkeys(OUTCOMES, 0)
    for answer in answers(ws / "augmentation" / "next_item" / "answers").to_pylist():
        history = histories[answer["user"]]
        for proposal in answer["proposals"]:
            counts[proposal["outcome"]] += 1
            if proposal["outcome"] == ACCEPTED:
                assert proposal["item"] not in history["items"][: history["train_end"]]
                assert 0 <= proposal["yes_no"] <= 1 and 0 <= proposal["likelihood"] <= 1
    metrics = json.loads((ws / "report" / "metrics.json").read_text())
    assert metrics["proposals"] == counts and counts[ACCEPTED] > 0


def test_every_variant_adds_the_same_number_of_interactions_to_a_user(finished):
    ws = finished["ws"]
    added = {}
    for variant in ("generated", "discriminated", "random", "popular", "itemcf"):
        rows = pq.read_table(ws / "fused" / variant / "interactions").sort_by("user").to_pylist()
        added[variant] = [len(row["items"]) - row["observed"] for row in rows]
    assert added["generated"] == added["discriminated"] == added["random"] and sum(added["random"]) > 0
    for variant in ("popular", "itemcf"):  # a user may have all items that could be added
        assert all(few <= many for few, many in zip(added[variant], added["discriminated"], strict=True))
        assert sum(added[variant]) >= 0.95 * sum(added["discriminated"])


def test_tuning_lowered_the_loss_and_left_a_plain_model_folder(finished):
    for role in ("generator", "discriminator"):
        place = finished["ws"] / "llm" / role
        manifest = json.loads((place / "_manifest.json").read_text())
        assert manifest["counts"]["workers"] == 2
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
            file.name for file in place.iterdir()
        }
        beside = {"README.md", "curve.parquet", "worth.json"}
        assert beside <= {file.name for file in place.iterdir()}
    losses = pq.read_table(finished["ws"] / "llm/generator/curve.parquet")["loss"].to_pylist()
    assert losses[-1] < losses[0]


def test_the_report_holds_every_recommender_variant_and_slice(finished):
    metrics = json.loads((finished["ws"] / "report" / "metrics.json").read_text())
    assert set(metrics) >= {"recipe", "dataset", "commit", "rows", "proposals", "cost", "stages"}
    rows = {(r["recommender"], r["variant"]) for r in metrics["rows"]}
    assert {
        ("swing", "itemcf"),
        ("itemcf", "random"),
        ("sasrec", "discriminated"),
    } <= rows
    lifts = [
        r
        for r in metrics["rows"]
        if r["variant"] != "observed" and r["metric"] in ("recall", "ndcg", "hit", "mrr")
    ]
    assert all(r["ci_low"] is not None and r["ci_low"] <= r["ci_high"] for r in lifts)
    assert metrics["precision"]["generated"]["value"] > metrics["precision"]["random"]["value"]
    assert (finished["ws"] / "report" / "index.html").stat().st_size > 10_000


def test_the_same_run_again_does_no_work(finished):
    ws = finished["ws"]
    before = {file: file.stat().st_mtime_ns for file in ws.rglob("_manifest.json")}
    done = longtail("run", finished["recipe"], "-w", ws, timeout=600)
    output = done.stdout + done.stderr
    assert {file: file.stat().st_mtime_ns for file in ws.rglob("_manifest.json")} == before
    assert "report/index.html" in output and "…" not in output
