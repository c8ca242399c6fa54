"""A list that is asked for while serving is the one that augment publishes for the same history."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from longtail.augment.discriminate import finished
from longtail.augment.judge import judge, rankings, with_agreement
from longtail.augment.lists_on_demand import ListsOnDemand
from longtail.augment.strategies.item_tokens import rare_items
from longtail.augment.strategies.next_item import NextItemSection
from longtail.augment.strategies.strategy import requests, rng_of
from longtail.errors import InputError
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Judge, Recipe
from longtail.recommenders import build
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.registry import strategies, strategy_spec
from longtail.workspace import Workspace, read_manifest
from tests.augment.strategies.conftest import (
    N_ITEMS,
    answered,
    catalogue_of,
    hints_of,
    histories,
    options,
    store,
    strategy_of,
)
from tests.augment.strategies.test_no_leak import LOGS, SECTIONS
from tests.recommenders.conftest import interactions

SECTION = NextItemSection(proposals=3, tail_share=0.34)
JUDGE = Judge(likelihood=0.3, agreement=0.5, yes_no=0.2, tail_boost=1.5, keep=2)


def engine(rows: pa.Table) -> pa.Table:
    """An LLM: it gives equal prompts equal probabilities for all items."""
    said = []
    for row in rows.to_pylist():
        seed = blake2b(str(row["prompts"]).encode(), digest_size=4).digest()
        chances = np.random.default_rng([*seed]).dirichlet(np.ones(N_ITEMS))
        order = np.argsort(-chances)
        said.append([options(catalogue_of("token").tokens(order), chances[order])])
    return answered(rows, said)


@settings(max_examples=30)
@given(train=LOGS)
def test_a_list_equals_the_published_one(train: list[list[int]]) -> None:
    strategy, rare = strategy_of(SECTION, "token"), rare_items(store())
    itemcf = build("itemcf", ItemCFSection()).fit(interactions(train, N_ITEMS))
    told = engine(requests(histories(train, [[] for _ in train]), strategy, "salt", 7))
    drafts = told.append_column("proposals", strategy.read(told).column(len(told)))
    for cost in ("questions", "prompt_tokens", "output_tokens", "seconds"):
        drafts = drafts.append_column(cost, pa.array(np.ones(len(drafts), np.int32)))
    answers = finished(drafts, "next_item").drop_columns("unheard")
    published = rankings(judge(with_agreement(answers, itemcf), JUDGE, rare), JUDGE, rare).to_pylist()

    here = ListsOnDemand(strategy, None, "", JUDGE, itemcf, rare)
    asked = [np.array(own, np.int32) for own in train]
    empty = np.zeros(0, np.int32)
    lists = here.lists(engine(here.requests([empty, *asked[::-1]])), len(train) + 1)
    assert not len(lists[0][0]) and not len(lists[0][1]), "nothing is asked about an empty history"
    assert [
        {"user": user, "items": items.tolist(), "scores": scores.tolist()}
        for user, (items, scores) in enumerate(lists[:0:-1])
        if len(items)
    ] == published


def test_a_row_without_an_answer_has_no_list_and_moves_no_other() -> None:
    here = ListsOnDemand(strategy_of(SECTION, "token"), None, "", None, None, rare_items(store()))
    asked = here.requests([np.array([item], np.int32) for item in range(3)])
    whole = here.lists(engine(asked), 3)
    told = answered(asked, [None if row == 1 else [one] for row, one in enumerate(first(engine(asked)))])
    left = here.lists(told, 3)
    assert not len(left[1][0])
    for row in (0, 2):
        np.testing.assert_array_equal(left[row][0], whole[row][0])


def first(told: pa.Table) -> list[dict]:
    return [row["answers"][0] for row in told.to_pylist()]


@pytest.mark.parametrize("name", [name for name in strategies() if strategy_spec(name).on_demand])
def test_what_is_on_demand_depends_on_the_history_alone(name: str) -> None:
    strategy = strategy_of(SECTIONS[name], "token", hints_of([[1, 2], [2, 3]]))
    history = np.array([1, 4, 2], np.int32)
    one, other = (strategy.ask(user, history, rng_of(seed, user)) for user, seed in ((0, 1), (1, 2)))
    assert len(one) == 1
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.prompts[0], yours.prompts[0])
        np.testing.assert_array_equal(mine.options, yours.options)


def published(folder: Path, strategy: str = "next_item", items: str = "token") -> Workspace:
    """A workspace with data, an LLM without weights, and lists that it made."""
    recipe = Recipe.model_validate(
        {
            "name": "live",
            "llm": {"items": items},
            "generator": {"tasks": {"next_item": 1, "ranking": 1}},
            "augment": [{"strategy": "next_item"}, {"strategy": "ranking"}],
            "judge": {"yes_no": 0.0},
            "recommenders": {"itemcf": {}},
        }
    )
    ws = Workspace(str(folder), recipe.model_dump(mode="json"))
    train = [[0, 1, 2], [1, 2, 3]]
    data = ws.stage("data", {})
    data.counts = {"users": 2, "items": N_ITEMS}
    with data.publishing() as draft:
        (draft / "items.parquet").write_table(store())
        (draft / "histories/a.parquet").write_table(histories(train, [[4], [5]]))
    publish_llm(ws, "first")
    with ws.stage(f"augmentation/{strategy}", {}, [ws / "data", ws / "llm/generator"]).publishing() as draft:
        (draft / "rankings/a.parquet").write_bytes(b"")
    return ws


def publish_llm(ws: Workspace, settings: str) -> None:
    with ws.stage("llm/generator", settings, [ws / "data"]).publishing() as draft:
        draft.make_folder()
        build_tokenizer(store(), "token").save_pretrained(draft.path)


def test_the_llm_that_made_the_lists_is_found(tmp_path: Path) -> None:
    ws = published(tmp_path)
    here = ListsOnDemand.open(ws, "data", "augmentation/next_item")
    assert here.llm.path == (ws / "llm/generator").path
    assert here.made_of == read_manifest(ws / "augmentation/next_item")["fingerprint"]
    assert here.judge is not None and here.itemcf.n_items == N_ITEMS
    assert here.strategy.sampling.max_tokens == 1


@pytest.mark.parametrize(
    ("strategy", "items", "says"),
    [
        ("ranking", "token", "serving.live: what ranking asks depends on more than one history"),
        ("next_item", "title", "llm.items = 'title'.*Set serving.live to false"),
    ],
)
def test_a_list_that_takes_too_long_or_more_than_a_history_is_refused(
    tmp_path: Path, strategy: str, items: str, says: str
) -> None:
    ws = published(tmp_path, strategy, items)
    with pytest.raises(InputError, match=says):
        ListsOnDemand.open(ws, "data", f"augmentation/{strategy}")


def test_an_llm_or_data_that_was_replaced_is_named(tmp_path: Path) -> None:
    ws = published(tmp_path)
    with pytest.raises(InputError, match="final/data that made augmentation/next_item was replaced"):
        ListsOnDemand.open(ws, "final/data", "augmentation/next_item")
    publish_llm(ws, "second")
    with pytest.raises(InputError, match="the generator that made augmentation/next_item was replaced"):
        ListsOnDemand.open(ws, "data", "augmentation/next_item")


def test_lists_of_another_version_of_longtail_are_named(tmp_path: Path) -> None:
    ws = published(tmp_path)
    ws.recipe = {"name": "live", "judge": {"mood": 3}}
    with ws.stage("augmentation/next_item", 2, [ws / "data", ws / "llm/generator"]).publishing() as draft:
        draft.make_folder()
    with pytest.raises(InputError, match="(?s)judge.mood.*Run longtail augment"):
        ListsOnDemand.open(ws, "data", "augmentation/next_item")
