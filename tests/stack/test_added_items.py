"""The real command adds 100 items to a run that the real `longtail serve` serves: no restart, and no request fails."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from longtail.workspace import Workspace, read_manifest
from tests.stack.endpoints import Served, served
from tests.stack.processes import longtail, wait_for

RECIPE = """
name: added
dataset: {simulation: {users: 200, items: 150}}
variants: [observed]
recommenders: {itemcf: {text: 0.5, cold_share: 0.05}}
evaluation: {protocol: train-only}
serving: {candidates: 20, deadline_ms: 60000}
"""
NEW, K, ASKERS = 100, 10, 3
SECONDS = 60
"""In which new items have to be served after the command ended."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("added") / "added.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="module")
def ws(recipe: Path) -> Workspace:
    folder = recipe.parent / "run"
    longtail("run", recipe, "--workspace", folder)
    return Workspace(str(folder))


@pytest.fixture(scope="module")
def endpoint(recipe: Path, ws: Workspace) -> Iterator[Served]:
    with served(recipe, Path(str(ws))) as endpoint:
        yield endpoint


def new_items(ws: Workspace, folder: Path) -> Path:
    """Items with the titles and categories of known ones, under new ids; and one that is known."""
    items = (ws / "data/items.parquet").read_table().sort_by("item").to_pylist()
    lines = ["item_id,title,category", f"{items[0]['item_id']},Known,"]
    lines += [
        f"new-{one['item_id']},{one['title']},{dict(one['attributes'])['category']}" for one in items[:NEW]
    ]
    (folder / "new.csv").write_text("\n".join(lines) + "\n")
    return folder / "new.csv"


def known_histories(ws: Workspace) -> dict[str, list[str]]:
    """By user, what the recommender was fitted on."""
    ids = (ws / "data/items.parquet").read_table().sort_by("item")["item_id"].to_pylist()
    rows = (ws / "data/histories").read_table(["user_id", "items", "train_end"]).to_pylist()
    return {row["user_id"]: [ids[item] for item in row["items"][: row["train_end"]]] for row in rows}


def test_new_items_are_recommended_without_a_restart_or_a_failed_request(
    recipe: Path, ws: Workspace, endpoint: Served
) -> None:
    users, over, failed = known_histories(ws), threading.Event(), list[str]()
    mixed, answered = list[str](), dict.fromkeys(range(ASKERS), 0)
    with endpoint.client() as http:
        first = http.get("/version").json()["model_version"]
        before = ranked(http, users)

    def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        with endpoint.client() as http:
            while not over.is_set():
                asked = {"user_id": str(rng.choice([*users])), "k": K}
                try:
                    answer = http.post("/v1/recommend", json=asked)
                except httpx.HTTPError as error:
                    failed.append(repr(error))
                    continue
                if answer.status_code != 200:
                    failed.append(f"{answer.status_code} {answer.text[:200]}")
                    continue
                found = answer.json()
                new = any(one["item_id"].startswith("new-") for one in found["items"])
                if new and found["model_version"] == first:
                    mixed.append(found["user"])
                answered[number] += 1
                time.sleep(0.01)

    replicas = {one.pid for one in endpoint.replicas()}
    askers = [threading.Thread(target=ask, args=(number,)) for number in answered]
    for asker in askers:
        asker.start()
    try:
        told = longtail("add-items", recipe, new_items(ws, recipe.parent), "--workspace", ws.root.path)
        began = time.monotonic()
        with endpoint.client() as http:
            wait_for(lambda: http.get("/version").json()["model_version"] != first, lambda: True, SECONDS)
            print(f"served {time.monotonic() - began:.1f} s after the command")
            counted = dict(answered)
            wait_for(lambda: all(answered[one] > counted[one] for one in answered), lambda: True, 60)
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert not failed and not mixed and min(answered.values()) > 10
    assert {one.pid for one in endpoint.replicas()} == replicas, "no replica was replaced"
    assert "1 items are known already" in told.stderr and f"of {NEW} new items" in told.stderr
    with endpoint.client() as http:
        version = http.get("/version").json()
        assert (version["items"], version["refused"]) == (150 + NEW, None)
        after = ranked(http, users)
    share = sum(one.startswith("new-") for row in after.values() for one in row) / (K * len(users))
    counts = read_manifest(ws / "added/items")["counts"]
    assert 0.03 < share <= 0.05 and share == pytest.approx(counts["share of places of observed/itemcf-0"])
    for user, row in after.items():
        old = [one for one in row if not one.startswith("new-")]
        assert old == before[user][: len(old)], "old items keep their order"


def ranked(http: httpx.Client, users: dict[str, list[str]]) -> dict[str, list[str]]:
    """The first items of each user, asked with the history of the fit."""
    found = {}
    for user, history in users.items():
        asked = {"user_id": user, "history": history, "k": K}
        answer = http.post("/v1/recommend", json=asked).raise_for_status().json()
        found[user] = [one["item_id"] for one in answer["items"]]
    return found


def test_histories_and_events_may_have_new_items(recipe: Path, ws: Workspace, endpoint: Served) -> None:
    """A file that has nothing new changes nothing, so this holds alone too."""
    longtail("add-items", recipe, new_items(ws, recipe.parent), "--workspace", ws.root.path)
    item = f"new-{(ws / 'data/items.parquet').read_table().sort_by('item')['item_id'][3].as_py()}"
    with endpoint.client() as http:

        def asked(**question: object) -> dict:
            return http.post("/v1/recommend", json=question | {"k": K}).raise_for_status().json()

        wait_for(lambda: http.get("/version").json()["items"] == 150 + NEW, lambda: True, SECONDS)
        found = asked(history=[item])
        assert found["degraded"] is None and len(found["items"]) == K
        event = {"event_id": "one", "user_id": "newcomer", "item_id": item}
        http.post("/v1/events", json={"events": [event]}).raise_for_status()
        told = asked(user_id="newcomer")
        assert told["interactions"] == 1 and told["degraded"] is None
        assert [one["item_id"] for one in told["items"]] == [one["item_id"] for one in found["items"]]
        assert http.get(f"/v1/items/{item}/similar").raise_for_status().json()["items"]
