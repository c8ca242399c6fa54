"""Users for cold items, from the log to the training set, without an LLM: counts, weights, and the control."""

from collections import Counter

import numpy as np
import pytest

from longtail.augment import augment
from longtail.data import prepare
from longtail.fusion import fuse
from longtail.llm.finetune.finetune_stage import finetune
from longtail.recipe import Recipe
from longtail.schema import OUTCOMES
from longtail.workspace import Workspace, read_manifest

VALUES = {
    "name": "cold",
    "dataset": {"simulation": {"users": 200, "items": 80, "tastes": 4}, "split": "cold", "cold_share": 0.2},
    "augment": [{"strategy": "cold_users", "per_item": 4, "weight": 0.05}],
    "variants": ["observed", "cold_users", "cold_users_random"],
    "recommenders": {"itemcf": {}},
    "evaluation": {"protocol": "train-only"},
}


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    recipe, ws = Recipe.model_validate(VALUES), Workspace(str(tmp_path_factory.mktemp("cold") / "run"))
    for stage in (prepare, finetune, augment, fuse):
        stage(recipe, ws)
    return ws


def added(ws: Workspace, variant: str) -> list[tuple[int, int, float]]:
    """User, item and weight of everything that is added."""
    rows = (ws / f"fused/{variant}/interactions").read_table().to_pylist()
    return [
        (row["user"], item, weight)
        for row in rows
        for item, weight in list(zip(row["items"], row["weights"], strict=True))[row["observed"] :]
    ]


def test_no_llm_is_tuned_or_asked(ws: Workspace) -> None:
    assert not (ws / "llm").exists()
    counts = read_manifest(ws / "augmentation/cold_users")["counts"]
    assert counts["questions"] == counts["prompt_tokens"] == counts["errors"] == 0
    assert counts["outcomes"] == dict.fromkeys(OUTCOMES, 0) | {"accepted": counts["proposals"]}
    assert counts["proposals"] == len(added(ws, "cold_users")) > 0


def test_each_cold_item_gets_its_users_and_the_control_as_many(ws: Workspace) -> None:
    items = (ws / "data/items.parquet").read_table(["slice"])["slice"].to_pylist()
    cold = {item for item, name in enumerate(items) if name == "cold"}
    found, control = added(ws, "cold_users"), added(ws, "cold_users_random")
    assert {item for _, item, _ in found} <= cold
    assert len({(user, item) for user, item, _ in found}) == len(found)
    per_item = Counter(item for _, item, _ in found)
    assert max(per_item.values()) == 4 and len(per_item) > 0.8 * len(cold)
    assert Counter(item for _, item, _ in control) == per_item
    assert {(user, item) for user, item, _ in control} != {(user, item) for user, item, _ in found}
    for _, _, weight in found + control:
        assert weight == pytest.approx(0.05)
    assert not any(read_manifest(ws / "fused/cold_users_random")["counts"]["short"].values())


def test_the_users_found_are_right_more_often_than_the_random_ones(ws: Workspace) -> None:
    """In the simulated store titles tell something of the taste."""
    rows = (ws / "data/histories").read_table(["user", "items", "train_end"]).to_pylist()
    later = {(row["user"], item) for row in rows for item in row["items"][row["train_end"] :]}
    right = [
        np.mean([(user, item) in later for user, item, _ in added(ws, variant)])
        for variant in ("cold_users", "cold_users_random")
    ]
    assert right[0] > 1.3 * right[1]
