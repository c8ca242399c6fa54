"""Two rounds with a real LLM: it is asked again with the validation items, and here also tuned again with them. In the round
of production the same LLM is asked again with whole histories.
"""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.aggregation.artefact import read_artefact, read_evaluated
from longtail.aggregation.refit import refit
from longtail.augment import augment
from longtail.data import prepare, read_histories
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.llm.finetune.finetune_stage import finetune
from longtail.recipe import Recipe, Serving
from longtail.recommenders import train
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


@pytest.fixture(scope="module")
def production(ws: Workspace) -> Workspace:
    """What is served, fitted again on the whole log: ItemCF of the judged log, fused with the LLM's list."""
    named = Serving(recommender="itemcf", variant="discriminated", list="next_item")
    for stage in (train, evaluate, refit):
        stage(RECIPE.model_copy(update={"serving": named}), ws)
    return ws


def test_for_production_the_evaluated_llm_is_asked_again_with_whole_histories(production: Workspace) -> None:
    histories = {row["user"]: row["items"] for row in read_histories(production / "data").to_pylist()}
    answers = rows_of(production, "production/augmentation/next_item/answers")
    assert [row["user"] for row in answers] == sorted(user for user, items in histories.items() if items)
    asked = {row["request_id"] for row in rows_of(production, "final/augmentation/next_item/answers")}
    assert not asked & {row["request_id"] for row in answers if len(histories[row["user"]]) >= 3}
    lists = rows_of(production, "production/augmentation/next_item/rankings")
    assert lists and not any(set(row["items"]) & set(histories[row["user"]]) for row in lists)
    llm = read_manifest(production / "final/llm/generator")["fingerprint"]
    assert llm in read_manifest(production / "production/augmentation/next_item")["inputs"]


def test_for_production_the_training_set_is_the_whole_log_with_the_new_answers(production: Workspace) -> None:
    histories = read_histories(production / "data").to_pylist()
    for row, own in zip(
        rows_of(production, "production/fused/discriminated/interactions"), histories, strict=True
    ):
        assert row["items"][: row["observed"]] == own["items"]
        assert not set(row["items"][row["observed"] :]) & set(own["items"])
    found = read_artefact(production)
    assert found.fit == "production/recommenders/discriminated/itemcf-0"
    assert found.answers == "production/augmentation/next_item"
    assert found.fusion == read_evaluated(production).fusion and found.list == "next_item"
