"""Old answers are read again, with a better grounding or a new item. No LLM is asked: there is none in these tests."""

import tempfile

import numpy as np
import pyarrow as pa
import pytest

from longtail.augment.asking import Asking
from longtail.augment.ledger import write
from longtail.data import Prepared, prepare
from longtail.llm.grounding import Grounder
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Recipe
from longtail.schema import ACCEPTED, NOT_IN_CATALOGUE, NOTHING, WORDS
from longtail.workspace import Workspace

pytestmark = pytest.mark.usefixtures("ray_here")
RECIPE = Recipe.model_validate(
    {
        "name": "reading",
        "dataset": {"simulation": {"users": 30, "items": 40, "tastes": 3}},
        "llm": {"items": "title"},
        "augment": [{"strategy": "next_item", "proposals": 4}],
        "judge": {"likelihood": 1.0, "agreement": 0.0, "yes_no": 0.0},
        "recommenders": {"itemcf": {}},
    }
)


class Literal(Grounder):
    """The old grounding: a title counts only if it is written exactly."""

    def _titles(self, texts: list[str]) -> np.ndarray:
        return np.array([self._exact.get(text.strip(), NOTHING) for text in texts], np.int32)


@pytest.fixture
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A data set, and the tokenizer of a generator."""
    ws = Workspace(str(tmp_path_factory.mktemp("run")))
    prepare(RECIPE, ws)
    tokenizer = build_tokenizer(Prepared(ws).items, "title")
    with tempfile.TemporaryDirectory() as folder, ws.stage("llm/generator", {}).publishing() as draft:
        tokenizer.save_pretrained(folder)
        draft.upload(folder)
    return ws


def answer(ws: Workspace, asking: Asking) -> dict[int, int]:
    """Writes an answer for every user: a title in capitals that is new to the user. Returns the item of each user."""
    rows = asking.requests().take_all()
    titles, rng = Prepared(ws).items["title"].to_pylist(), np.random.default_rng(1)
    known = {row["user"]: {*row["history"]} for row in rows}
    told = {
        user: next(i for i in rng.permutation(40).tolist() if i not in own) for user, own in known.items()
    }
    said = []
    for row in rows:
        text = titles[told[row["user"]]].upper() + "\n"
        tokens = asking.strategy.prompts.tokenizer(text, add_special_tokens=False)["input_ids"]
        words = {"written": tokens, "written_logprobs": [-0.1] * len(tokens), "options": []}
        said.append({"request_id": row["request_id"], "answers": [words | {"option_logprobs": []}]})
    write(pa.Table.from_pylist(said, WORDS), asking.ledger.place)
    return told


def published(ws: Workspace, asking: Asking, name: str) -> dict[int, list[tuple[int | None, str]]]:
    """For each user, the item and the outcome of every proposal."""
    draft = ws / name
    counts = asking.publish(draft)
    rows = (draft / "answers").read_table().to_pylist()
    assert (
        sum(counts["outcomes"].values()) == counts["proposals"] == sum(len(row["proposals"]) for row in rows)
    )
    return {row["user"]: [(one["item"], one["outcome"]) for one in row["proposals"]] for row in rows}


def test_a_better_grounding_reads_more_in_old_answers(ws: Workspace) -> None:
    """Failed before: the items of an answer were fixed when it came."""
    import ray

    asking = Asking(RECIPE, ws, RECIPE.augment[0], Prepared(ws))
    told = answer(ws, asking)
    kept = {file.path: file.read_bytes() for file in asking.ledger.place.files()}
    asking.strategy.reader.grounder = Literal(Prepared(ws).items, "title")
    asking.shared = ray.put((asking.strategy, asking.judging))
    yesterday = published(ws, asking, "yesterday")
    assert yesterday == {user: [(None, NOT_IN_CATALOGUE)] for user in told}
    today = published(ws, Asking(RECIPE, ws, RECIPE.augment[0], Prepared(ws)), "today")
    assert today == {user: [(item, ACCEPTED)] for user, item in told.items()}
    assert {file.path: file.read_bytes() for file in asking.ledger.place.files()} == kept


def test_an_item_that_came_into_the_catalogue_is_found_in_old_answers(ws: Workspace) -> None:
    """Its title named no item before. Failed before: the whole catalogue was part of every request's id."""
    asking = Asking(RECIPE, ws, RECIPE.augment[0], Prepared(ws))
    told = answer(ws, asking)
    prepared = Prepared(ws)
    titles = prepared.items["title"].to_pylist()
    met = {item for items in (ws / "data/histories").read_table()["items"].to_pylist() for item in items}
    new = next((item for item in told.values() if item not in met), None) or min({*range(40)} - met)
    before = pa.array(
        [f"Something else {item}" if item == new else title for item, title in enumerate(titles)]
    )
    prepared.items = prepared.items.set_column(2, "title", before)
    yesterday = published(ws, Asking(RECIPE, ws, RECIPE.augment[0], prepared), "yesterday")
    today = published(ws, Asking(RECIPE, ws, RECIPE.augment[0], Prepared(ws)), "today")
    for user, item in told.items():
        assert today[user] == [(item, ACCEPTED)]
        assert yesterday[user] == ([(None, NOT_IN_CATALOGUE)] if item == new else today[user])
