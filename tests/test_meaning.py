"""Whoever changes what a stage, a strategy or a recommender makes of equal settings is told to raise its version."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from longtail import recipe
from longtail.augment.augment_stage import MEANING as AUGMENTED
from longtail.augment.judge import judge, rankings
from longtail.augment.strategies.strategy import Strategy
from longtail.data import prepare
from longtail.data.prepare_stage import MEANING as PREPARED
from longtail.evaluation import evaluate
from longtail.evaluation.evaluate_stage import MEANING as EVALUATED
from longtail.fusion import fuse, fuse_stage
from longtail.llm.finetune.finetune_stage import EXAMPLES_MEANING as EXAMPLES
from longtail.llm.finetune.finetune_stage import MEANING as TUNED_LLM
from longtail.recipe import Recipe
from longtail.recommenders import build, train
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.train_stage import MEANING as FITTED
from longtail.registry import strategy_spec
from longtail.report import report
from longtail.report.report_stage import MEANING as REPORTED
from longtail.schema import ANSWERS
from longtail.search.tune import MEANING as TUNED
from longtail.search.tune import tune
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place
from tests.augment.strategies.conftest import (
    N_ITEMS,
    answered,
    asked,
    catalogue_of,
    hints_of,
    listed,
    options,
    proposals,
    scored,
    strategy_of,
    written,
)
from tests.llm.examples.test_writing import FULL, write
from tests.llm.finetune.toys import losses, run, toy_job
from tests.pins import require_pinned
from tests.recommenders.conftest import SECTIONS, clusters
from tests.recommenders.learners import cold_preferences

USERS = np.arange(1, 7)
RECIPE = Recipe.model_validate(
    {
        "name": "pinned",
        "dataset": {"simulation": {"users": 80, "items": 40, "tastes": 4, "mean_history": 7}, "k_core": 2},
        "augment": [],
        "variants": ["observed"],
        "recommenders": {"itemcf": {"recency": 0.8}},
        "evaluation": {"bootstrap": 50, "sampled_negatives": 10, "protocol": "train-only"},
        "tune": {"samples": 3},
    }
)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_recommender(name: str) -> None:
    """A fit with generated items, and preferences for those that learn from them."""
    section = SECTIONS[name]
    if isinstance(section, TrainedSection):  # far enough from where it starts that its losses show
        section = section.model_copy(update={"epochs": 6, "lr": 0.03})
    model = build(name, section, seed=3).fit(clusters(), cold_preferences(), None)
    scores = model.score(model.seen.take(USERS), USERS)
    require_pinned(
        f"recommenders/{name}",
        section.meaning,
        {"scores": np.where(np.isfinite(scores), scores, np.nan)},
        f"class {type(section).__name__} of app/longtail/recommenders/models/{name}.py",
    )


ASKED = {
    "next_item": {"proposals": 4, "tail_share": 0.5},
    "screening": {},
    "id_list": {"lists": 2, "length": 5},
    "insertion": {},
    "pairs": {"pairs": 2},
    "cold_pairs": {},
    "cold_users": {"ask": "likelihood", "per_item": 1},
    "ranking": {},
}
TRAIN = [[1, 2, 3], [4, 12, 0, 7], [9, 13]]


@pytest.mark.parametrize("name", ASKED)
def test_a_strategy(name: str) -> None:
    """What it asks, token by token, and what it reads from an engine that says anything."""
    section, rendering = strategy_spec(name).settings(**ASKED[name]), "token"
    strategy = strategy_of(section, rendering, hints_of(TRAIN))
    requests, rng = asked(strategy, TRAIN, [[5, 6], [8], [10]]), np.random.default_rng(3)
    said = [
        [anything(strategy, prompt, row["options"], rendering, rng) for prompt in row["prompts"]]
        for row in requests.to_pylist()
    ]
    found = [one for row in proposals(strategy, answered(requests, said)) for one in row]
    output = {column: text(requests[column].to_pylist()) for column in ("prompts", "options", "shown")}
    output |= {key: text([one[key] for one in found]) for key in ("item", "against", "outcome")}
    output["likelihood"] = [one["likelihood"] for one in found]
    where = f"class {type(section).__name__} of app/longtail/augment/strategies/{name}.py"
    require_pinned(f"strategies/{name}", section.meaning, output, where)


def anything(
    strategy: Strategy, prompt: list[int], options_asked: list[int], rendering: str, rng: np.random.Generator
) -> Any:
    """What an engine might say to one prompt."""
    if strategy.sampling.scored:
        return scored(prompt, strategy.sampling.scored, rng)
    items = rng.permutation(N_ITEMS)[:8]
    tokens = options_asked or (catalogue_of(rendering).tokens(items) if strategy.sampling.top else [])
    if len(tokens):
        return options(tokens, np.sort(rng.dirichlet(np.ones(len(tokens))))[::-1])
    return written(listed(rendering, items.tolist()))


def test_the_judge() -> None:
    """What of equal proposals is accepted, and each user's list."""
    rows = [
        {
            "request_id": f"{user:016x}",
            "user": user,
            "proposals": [
                {"item": (7 * user + 3 * place) % N_ITEMS, "likelihood": 0.5 / (place + 1),
                 "agreement": (place * user % 5) / 5, "yes_no": ((place + user) % 4) / 4, "outcome": None}
                for place in range(9)
            ],
        }
        for user in range(4)
    ]  # fmt: skip
    answers = pa.Table.from_pylist([dict.fromkeys(ANSWERS.names) | row for row in rows], ANSWERS)
    rare = np.arange(N_ITEMS) > 20
    settings = recipe.Judge(likelihood=0.4, agreement=0.3, yes_no=0.3, keep=4, tail_share=0.25)
    judged = judge(answers, settings, rare)
    output = {"outcomes": text([[one["outcome"] for one in row] for row in judged["proposals"].to_pylist()])}
    output["lists"] = text(rankings(judged, settings, rare).to_pylist())
    require_pinned("augment", AUGMENTED, output, "app/longtail/augment/augment_stage.py")


def test_examples(tmp_path: Path, ray_here: None) -> None:
    """What every task teaches, token by token."""
    for role, section in (
        ("generator", recipe.Generator(tasks=FULL)),
        ("discriminator", recipe.Discriminator()),
    ):
        place, counts = write(tmp_path / role, section, 2)
        output = {part: text((place / part).read_table().to_pylist()) for part in ("train", "validation")}
        output["counts"] = text(counts)
        require_pinned(f"examples/{role}", EXAMPLES, output, "app/longtail/llm/finetune/finetune_stage.py")


def test_the_tuning_of_an_llm(tmp_path: Path) -> None:
    _, progress = run(toy_job(tmp_path, epochs=2))
    output = {"losses": losses(progress)[::5], "validations": [loss for _, loss in progress.validations]}
    require_pinned("llm", TUNED_LLM, output, "app/longtail/llm/finetune/finetune_stage.py")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Workspace:
    """Every stage that asks no LLM."""
    ws = Workspace(str(tmp_path_factory.mktemp("pinned")))
    for stage in (prepare, fuse, train, evaluate, report, tune):
        stage(RECIPE, ws)
    return ws


def test_prepare(finished: Workspace) -> None:
    output = {"items": digest(finished / "data/items.parquet", "item")}
    output |= {part: digest(finished / f"data/{part}", "user") for part in ("histories", "truth/users")}
    where = "app/longtail/data/prepare_stage.py, or of class Simulation if only the simulated store changed"
    require_pinned("prepare", [PREPARED, recipe.Simulation.meaning], output, where)


def test_fuse(finished: Workspace) -> None:
    output = {"observed": digest(finished / "fused/observed/interactions", "user")}
    require_pinned("fuse", fuse_stage.MEANING, output, "app/longtail/fusion/fuse_stage.py")


def test_train(finished: Workspace) -> None:
    counts = finished.manifests()["recommenders/observed/itemcf-0"]["counts"]
    kept = {name: [counts[name]] for name in ("users", "items", "interactions", "generated")}
    require_pinned("train", FITTED, kept, "app/longtail/recommenders/training/train_stage.py")


def test_evaluate(finished: Workspace) -> None:
    place = finished / "evaluation/observed/itemcf-0"
    output = {
        name: digest(place / name, key) for name, key in (("ranks", "user"), ("exposure.parquet", "item"))
    }
    output["validation"] = [read_manifest(place)["counts"]["validation"]["ndcg"]]
    require_pinned("evaluate", EVALUATED, output, "app/longtail/evaluation/evaluate_stage.py")


def test_report(finished: Workspace) -> None:
    rows = (finished / "report/metrics.json").read_json()["rows"]
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append(float(value))
    require_pinned("report", REPORTED, values, "app/longtail/report/report_stage.py")


def test_tune(finished: Workspace) -> None:
    trials = (finished / "tuning/itemcf/trials.parquet").read_table().to_pylist()
    output = {"settings": text([row["settings"] for row in trials]), "ndcg": [row["ndcg"] for row in trials]}
    require_pinned("tune", TUNED, output, "app/longtail/search/tune.py")


def digest(place: Place, key: str) -> str:
    """Of the rows of a table, whatever files and row order they lie in."""
    return text(place.read_table().sort_by(key).to_pylist())


def text(value: Any) -> str:
    """A digest; floats to six digits."""
    return hashlib.blake2b(json.dumps(rounded(value), sort_keys=True).encode(), digest_size=8).hexdigest()


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list | tuple) else value
