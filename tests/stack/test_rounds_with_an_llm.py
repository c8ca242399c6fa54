"""Two rounds with a real LLM: it is asked again with the validation items, and here also tuned again with them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.augment import augment
from longtail.data import prepare, read_histories
from longtail.fusion import fuse
from longtail.llm.finetune.finetune_stage import finetune
from longtail.recipe import Recipe
from longtail.workspace import Workspace, read_manifest

pytestmark = pytest.mark.timeout(1800)
RECIPE = Recipe.model_validate(
    {
        "name": "rounds",
        "dataset": {"simulation": {"users": 80, "items": 40, "tastes": 4, "mean_history": 7}},
        "generator": {"epochs": 3, "context": 128},
        "augment": [{"strategy": "next_item", "proposals": 4}],
        "judge": {"yes_no": 0.0, "keep": 2},
        "variants": ["observed", "discriminated", "itemcf"],
        "recommenders": {"itemcf": {}},
        "evaluation": {"retune": True},
        "resources": {"llm_workers": 1},
    }
)


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("rounds")))
    for stage in (prepare, finetune, augment, fuse):
        stage(RECIPE, ws)
    return ws


def rows_of(ws: Workspace, place: str) -> list[dict]:
    return (ws / place).read_table().sort_by("user").to_pylist()


def test_the_llm_is_tuned_again_as_long_as_was_best(ws: Workspace) -> None:
    first, final = (read_manifest(ws / f"{folder}llm/generator") for folder in ("", "final/"))
    assert final["counts"]["examples"] > first["counts"]["examples"], (
        "it learns from the validation items too"
    )
    steps = -(-first["counts"]["examples"] // RECIPE.generator.batch)
    epochs = round((first["counts"]["best_step"] or first["counts"]["steps"]) / steps)
    assert final["settings"]["tuning"]["epochs"] == epochs
    again = -(-final["counts"]["examples"] // RECIPE.generator.batch)
    assert final["counts"]["steps"] == epochs * again and final["counts"]["best_step"] is None
    assert (ws / "llm/generator/worth.json").exists() and not (ws / "final/llm/generator/worth.json").exists()


def test_each_round_asks_with_what_is_known_in_it(ws: Workspace) -> None:
    """A longer history is another question, and to another LLM: no answer is shared."""
    for folder in ("", "final/"):
        histories = {row["user"]: row for row in read_histories(ws / f"{folder}data").to_pylist()}
        answers = rows_of(ws, f"{folder}augmentation/next_item/answers")
        asked = [row["user"] for row in answers]
        assert asked == sorted(user for user, row in histories.items() if row["train_end"])
        for row in answers:
            own = histories[row["user"]]
            known = set(own["items"][: own["train_end"]])
            taken = [one["item"] for one in row["proposals"] if one["outcome"] == "accepted"]
            assert not known & set(taken) and len(taken) <= 2
    ledger = [pq.read_table(file.path)["request_id"] for file in (ws / "ledger/next_item").files(".parquet")]
    ids = pa.chunked_array([chunk for column in ledger for chunk in column.chunks]).to_pylist()
    both = [len(rows_of(ws, f"{folder}augmentation/next_item/answers")) for folder in ("", "final/")]
    assert len(ids) == len(set(ids)) == sum(both)


def test_each_round_trains_on_its_own_history_and_answers(ws: Workspace) -> None:
    first, final = (rows_of(ws, f"{folder}fused/discriminated/interactions") for folder in ("", "final/"))
    histories = read_histories(ws / "data").to_pylist()
    for before, after, own in zip(first, final, histories, strict=True):
        assert before["items"][: before["observed"]] == own["items"][: own["train_end"]]
        assert after["items"][: after["observed"]] == own["items"][: own["valid_end"]]
        assert not set(after["items"][after["observed"] :]) & set(own["items"][: own["valid_end"]])
