"""Whoever changes what a stage, a strategy or a recommender makes of equal settings is told to raise its version."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from app.augment import fuse, fusion
from app.data import prepare
from app.data.prepare import MEANING as PREPARED
from app.evaluation import evaluate, report
from app.evaluation.evaluate import MEANING as EVALUATED
from app.evaluation.report import MEANING as REPORTED
from app.recipe import Recipe, Trained
from app.recommenders import build, train
from app.recommenders.fitting import MEANING as FITTED
from app.recommenders.tuning import MEANING as TUNED
from app.recommenders.tuning import tune
from app.workspace import Place, Workspace
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
        "evaluation": {"bootstrap": 50, "sampled_negatives": 10},
        "tune": {"samples": 3},
    }
)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_recommender(name: str) -> None:
    """A fit with generated items, and preferences for those that learn from them."""
    section = SECTIONS[name]
    if isinstance(section, Trained):  # far enough from where it starts that its losses show
        section = section.model_copy(update={"epochs": 6, "lr": 0.03})
    model = build(name, section, seed=3).fit(clusters(), cold_preferences(), None)
    scores = model.score(model.seen.take(USERS), USERS)
    require_pinned(
        f"recommenders/{name}",
        section.meaning,
        {"scores": np.where(np.isfinite(scores), scores, np.nan)},
        f"class {type(section).__name__} of app/recipe/recommenders.py",
    )


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
    require_pinned("prepare", PREPARED, output, "app/data/prepare.py")


def test_fuse(finished: Workspace) -> None:
    output = {"observed": digest(finished / "fused/observed/interactions", "user")}
    require_pinned("fuse", fusion.MEANING, output, "app/augment/fusion.py")


def test_train(finished: Workspace) -> None:
    counts = finished.manifests()["recommenders/observed/itemcf-0"]["counts"]
    kept = {name: [counts[name]] for name in ("users", "items", "interactions", "generated")}
    require_pinned("train", FITTED, kept, "app/recommenders/fitting.py")


def test_evaluate(finished: Workspace) -> None:
    place = finished / "evaluation/observed/itemcf-0"
    output = {
        name: digest(place / name, key) for name, key in (("ranks", "user"), ("exposure.parquet", "item"))
    }
    require_pinned("evaluate", EVALUATED, output, "app/evaluation/evaluate.py")


def test_report(finished: Workspace) -> None:
    rows = (finished / "report/metrics.json").read_json()["rows"]
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append(float(value))
    require_pinned("report", REPORTED, values, "app/evaluation/report.py")


def test_tune(finished: Workspace) -> None:
    trials = (finished / "tuning/itemcf/trials.parquet").read_table().to_pylist()
    output = {"settings": text([row["settings"] for row in trials]), "ndcg": [row["ndcg"] for row in trials]}
    require_pinned("tune", TUNED, output, "app/recommenders/tuning.py")


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
