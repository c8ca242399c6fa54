"""The gate on the real engine: an untuned LLM is asked about validation pairs, knows nothing, and is asked no more."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.augment import augment
from longtail.augment.gate_rule import LEAST, verdict
from longtail.data import Prepared, prepare
from longtail.fusion import fuse
from longtail.llm.prompts.building import Prompts
from longtail.llm.quality.likelihood import Likelihood
from longtail.recipe import Recipe
from longtail.schema import OUTCOMES
from longtail.workspace import Workspace, read_manifest
from tests.stack.small_llm import write_llm

pytestmark = pytest.mark.timeout(1800)
USERS, ITEMS, LONG = 130, 30, 6


def recipe_of(folder: Path, **changes: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "gated",
            "dataset": {"source": "parquet", "path": str(folder / "log"), "split": "leave-one-out"},
            "generator": {"history": 4, "context": 128},
            "augment": [{"strategy": "pairs", "pairs": 2, "ask": "pmi"} | changes],
            "variants": ["observed", "pairs", "pairs_shuffled"],
            "recommenders": {"bpr": {"dim": 8, "epochs": 1}},
            "evaluation": {"protocol": "train-only"},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which each item follows its neighbours at random, and titles of which some share a word."""
    folder, rng = tmp_path_factory.mktemp("gate"), np.random.default_rng(5)
    (folder / "log").mkdir()
    rows = [
        {"user_id": f"u{user:03}", "item_id": f"i{item:02}", "timestamp": time}
        for user in range(USERS)
        for time, item in enumerate(rng.permutation(ITEMS)[:LONG].tolist())
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "log/interactions.parquet")
    titles = [f"{('Oak', 'Pine', 'Wool')[item % 3]} thing {item}" for item in range(ITEMS)]
    listed = [{"item_id": f"i{item:02}", "title": title} for item, title in enumerate(titles)]
    pq.write_table(pa.Table.from_pylist(listed), folder / "log/items.parquet")
    return folder


@pytest.fixture(scope="module")
def gated(ray_here: None, folder: Path) -> Workspace:
    recipe, ws = recipe_of(folder), Workspace(str(folder / "run"))
    prepare(recipe, ws)
    write_llm(ws)
    augment(recipe, ws)
    fuse(recipe, ws)
    return ws


def test_the_engine_scores_texts_as_the_model_does(gated: Workspace) -> None:
    """Each logit of the gate against the same LLM outside of the engine: a title's log-probability after the history, less
    that without a history.
    """
    pairs = (gated / "gates/pairs/pairs.parquet").read_table()
    assert len(pairs) == USERS >= LEAST
    prepared, llm = Prepared(gated), gated / "llm/generator"
    prompts = Prompts.open(llm, prepared.items, "token", 4, 128)
    model = Likelihood.open(llm)
    rows = (gated / "data/histories").read_table(["user", "items", "train_end"]).to_pylist()
    histories = {row["user"]: np.array(row["items"][: row["train_end"]], np.int32) for row in rows}
    scores = []
    for name in ("taken", "other"):
        texts = [prompts.items.of(item) for item in pairs[name].to_pylist()]
        after = [prompts.next_item(histories[user]) for user in pairs["user"].to_pylist()]
        alone = [prompts.next_item(np.zeros(0, np.int32))] * len(texts)
        scores.append(model.texts(after, texts) - model.texts(alone, texts))
    np.testing.assert_allclose(pairs["llm"].to_numpy(), scores[0] - scores[1], atol=2e-3)
    assert np.std(scores[0] - scores[1]) > 0.01, "or all would be equal by chance"


def test_the_gate_is_the_rule_over_its_pairs_and_stays_shut(gated: Workspace) -> None:
    pairs, counts = (
        (gated / "gates/pairs/pairs.parquet").read_table(),
        read_manifest(gated / "gates/pairs")["counts"],
    )
    found = verdict(*(pairs[name].to_numpy() for name in ("llm", "text", "user")))
    assert counts["passed"] is found.passed is False
    for name in ("llm", "text", "adds", "adds_error", "over_text", "pairs", "answered"):
        assert counts[name] == pytest.approx(getattr(found, name))
    assert counts["prompt_tokens"] > 4 * USERS and counts["cold_pairs"] == 0


def test_without_preferences_the_run_goes_on(gated: Workspace) -> None:
    """Nobody is asked: the variant and its control are the log as it is."""
    counts = read_manifest(gated / "augmentation/pairs")["counts"]
    assert counts["requests"] == counts["proposals"] == 0
    assert counts["outcomes"] == dict.fromkeys(OUTCOMES, 0)
    asked = (gated / "ledger/pairs").read_table(["request_id"])
    assert len(asked) == USERS, "the gate's questions alone"
    log = (gated / "fused/observed/interactions").read_table().sort_by("user")
    for variant in ("pairs", "pairs_shuffled"):
        fused = read_manifest(gated / f"fused/{variant}")["counts"]
        assert fused["preferences"] == fused["generated"] == 0
        assert (gated / f"fused/{variant}/interactions").read_table().sort_by("user").equals(log)


def test_a_gate_that_is_switched_off_lets_all_answers_in(gated: Workspace, folder: Path) -> None:
    augment(recipe_of(folder, gate=False), gated)
    counts = read_manifest(gated / "augmentation/pairs")["counts"]
    assert counts["requests"] == USERS and counts["proposals"] == 2 * USERS
    assert counts["questions"] == 8 * USERS and counts["errors"] == 0
    assert counts["outcomes"]["accepted"] == 2 * USERS
