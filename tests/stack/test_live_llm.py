"""A real engine behind Serve: a live list equals the list that augment made for the same history."""

import asyncio
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from longtail.serving.answering.parts import NoList
from longtail.serving.live.live_client import LiveLLMClient
from longtail.workspace import Workspace, read_manifest
from tests.stack.endpoints import served_here
from tests.stack.live_run import RECIPE, finished_run

pytestmark = pytest.mark.timeout(1800)
ENOUGH = 60.0
"""Seconds that an answer may take on a busy machine."""


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finished_run(str(tmp_path_factory.mktemp("live") / "run"))


@pytest.fixture(scope="module")
def http(ws: Workspace) -> Iterator[httpx.Client]:
    with served_here(RECIPE, ws) as address, httpx.Client(base_url=address, timeout=ENOUGH) as client:
        yield client


@pytest.fixture(scope="module")
def training(ws: Workspace) -> dict[int, np.ndarray]:
    """The training history of every user who has one, by code."""
    rows = (ws / "data/histories").read_table(["user", "items", "train_end"]).to_pylist()
    return {
        row["user"]: np.array(row["items"][: row["train_end"]], np.int32) for row in rows if row["train_end"]
    }


@pytest.fixture(scope="module")
def made_of(ws: Workspace) -> str:
    return read_manifest(ws / "augmentation/next_item")["fingerprint"]


@pytest.fixture(scope="module")
def llm(http: httpx.Client) -> LiveLLMClient:
    from ray import serve as ray_serve

    return LiveLLMClient(ray_serve.get_deployment_handle("LiveLLM", "longtail"))


def test_every_live_list_equals_the_published_one(
    llm: LiveLLMClient, ws: Workspace, training: dict[int, np.ndarray], made_of: str
) -> None:
    """Questions go through the engine in other batches than before, so numbers may differ in their last digits."""

    async def ask() -> list[tuple[np.ndarray, np.ndarray]]:
        return await asyncio.gather(*(llm.rank(own, 100, made_of, ENOUGH) for own in list(training.values())))

    table = (ws / "augmentation/next_item/rankings").read_table()
    published = {row["user"]: row for row in table.to_pylist()}
    assert len(published) == len(training)
    for user, (items, scores) in zip(training, asyncio.run(ask()), strict=True):
        np.testing.assert_allclose(scores, published[user]["scores"], atol=1e-4)
        apart = np.flatnonzero(np.abs(np.diff(scores)) > 1e-4)
        for left, right in zip([0, *(apart + 1)], [*(apart + 1), len(items)], strict=True):
            assert {*items[left:right].tolist()} == {*published[user]["items"][left:right]}


def test_lists_of_another_version_are_never_given(
    llm: LiveLLMClient, training: dict[int, np.ndarray]
) -> None:
    with pytest.raises(NoList) as missing:
        asyncio.run(llm.rank(training[0], 10, "another version", ENOUGH))
    assert missing.value.reason == "not_live"


def test_a_history_is_answered_as_the_user_whose_history_it_is(
    http: httpx.Client, ws: Workspace, training: dict[int, np.ndarray]
) -> None:
    """The user's list is looked up, that of the history is made by the LLM; all else is the same."""
    ids = (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()
    users = dict(
        zip(
            *((ws / "data/histories").read_table()[name].to_pylist() for name in ("user", "user_id")),
            strict=True,
        )
    )
    for user in list(training)[:20]:
        asked = {"history": [ids[item] for item in training[user]], "k": 10}
        live = http.post("/v1/recommend", json=asked).raise_for_status().json()
        stored = http.post("/v1/recommend", json=asked | {"user_id": users[user]}).raise_for_status().json()
        assert live["degraded"] is None and stored["degraded"] is None
        assert live["alpha"] == stored["alpha"] and live["list"] == stored["list"] == "next_item"
        assert ranks(live) == ranks(stored)


def ranks(answer: dict) -> list[tuple]:
    return [(one["item_id"], one["recommender_rank"], one["llm_rank"]) for one in answer["items"]]
