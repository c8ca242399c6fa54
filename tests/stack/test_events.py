"""Events over real Ray Serve: a replica is killed while it takes them, and nothing that was answered is lost."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from longtail.event_log.log_files import log_files, read_log_file
from longtail.event_log.records import INTERACTION, INTERACTIONS
from longtail.recipe import dump_recipe
from longtail.workspace import Workspace
from tests.serving.store import RECIPE, write_store
from tests.stack.endpoints import Served, served
from tests.stack.processes import wait_for

ITEMS = 8
"""Of the store, i0 to i7."""
SHOPPERS = 4


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = write_store(tmp_path_factory.mktemp("events") / "ws")
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    return ws


@pytest.fixture(scope="module")
def endpoint(ws: Workspace) -> Iterator[Served]:
    with served(Path(str(ws / "recipe.yaml")), Path(str(ws))) as endpoint:
        yield endpoint


def recommend(http: httpx.Client, user: str) -> dict:
    return http.post("/v1/recommend", json={"user_id": user, "k": 3}).raise_for_status().json()


class Shopper(threading.Thread):
    """Tells of one new user after the other, each with one item. It sends an event again until it is answered, as a client
    should.
    """

    def __init__(self, number: int, endpoint: Served) -> None:
        super().__init__(daemon=True)
        self.number, self.endpoint = number, endpoint
        self.answered: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        with self.endpoint.client() as http:
            while not self.enough.is_set():
                user = f"shopper-{self.number}-{len(self.answered)}"
                event = {
                    "event_id": f"of {user}",
                    "user_id": user,
                    "item_id": f"i{len(self.answered) % ITEMS}",
                }
                while not self._sent(http, event):
                    time.sleep(0.2)
                self.answered.append(user)

    def _sent(self, http: httpx.Client, event: dict) -> bool:
        try:
            return http.post("/v1/events", json={"events": [event]}).status_code == 200
        except httpx.HTTPError:
            return False


def test_the_next_answer_of_a_user_knows_the_event(endpoint: Served) -> None:
    with endpoint.client() as http:
        before = recommend(http, "u4")
        taken = before["items"][0]["item_id"]
        quoted = before["recommendation_id"]
        event = {"event_id": "bought", "user_id": "u4", "item_id": taken, "recommendation_id": quoted}
        for duplicates in (0, 1):
            told = http.post("/v1/events", json={"events": [event]}).raise_for_status().json()
            assert told == {"accepted": 1, "duplicates": duplicates}
        after = recommend(http, "u4")
    assert after["interactions"] == before["interactions"] + 1
    assert taken not in [one["item_id"] for one in after["items"]]


@pytest.mark.faults
def test_events_survive_a_killed_replica(endpoint: Served, ws: Workspace) -> None:
    shoppers = [Shopper(number, endpoint) for number in range(SHOPPERS)]

    def alive() -> bool:
        return all(shopper.is_alive() for shopper in shoppers)

    (first,) = endpoint.replicas()
    for shopper in shoppers:
        shopper.start()
    wait_for(lambda: min(len(shopper.answered) for shopper in shoppers) >= 5, alive)
    first.kill()
    at_the_kill = [len(shopper.answered) for shopper in shoppers]
    more = list(zip(shoppers, at_the_kill, strict=True))
    wait_for(lambda: all(len(shopper.answered) >= n + 3 for shopper, n in more), alive)
    for shopper in shoppers:
        shopper.enough.set()
    for shopper in shoppers:
        shopper.join()

    files = log_files(ws / "events" / INTERACTIONS)
    assert len({file.writer for file in files}) == 2, "each process writes files of its own"
    written = [row for file in files for row in read_log_file(file.place, INTERACTION).to_pylist()]
    items = {row["user_id"]: row["item_id"] for row in written}
    with endpoint.client() as http:
        for shopper in shoppers:
            assert set(shopper.answered) <= items.keys(), "at least once"
            for user in (shopper.answered[0], shopper.answered[4], shopper.answered[-1]):
                found = recommend(http, user)
                assert found["interactions"] == 1, "the new replica knows what the killed one took"
                assert items[user] not in [one["item_id"] for one in found["items"]]
