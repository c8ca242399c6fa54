"""The live LLM killed, stalled and answering nonsense under load: every request is answered in time and says what it lacks.

A question is a history that nobody has, so only the live LLM can make its list.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from longtail.workspace import Workspace
from tests.stack.endpoints import served_here
from tests.stack.live_run import RECIPE, finished_run, replicas
from tests.stack.processes import wait_for
from tests.stack.small_llm import write_llm

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
DEADLINE = 2.0
"""Seconds; longer than the live LLM needs on a busy machine."""
SLACK = 5.0
"""Seconds by which an answer may exceed its deadline, besides the time for which the machine gave us no processor at all.
Without a deadline a stall of 10 s would last longer."""
BEAT = 0.05
CLIENTS = 4


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return finished_run(str(tmp_path_factory.mktemp("live") / "run"))


@pytest.fixture(scope="module")
def address(ws: Workspace) -> Iterator[str]:
    with served_here(RECIPE, ws) as address:
        yield address


@dataclass(frozen=True)
class Answered:
    """status: 0 if there was no answer at all. reason: why the LLM's list is missing, None if it is there."""

    status: int
    seconds: float
    reason: str | None
    items: int


class Load:
    """Clients that ask one question after the other."""

    def __init__(self, address: str, histories: list[list[str]]) -> None:
        self.address, self.histories = address, histories
        self.answers: list[Answered] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask, args=(one,)) for one in range(CLIENTS)]
        self._clients.append(threading.Thread(target=self._beat))
        self.starved = 0.0
        """The longest time for which this process, which asks for little, got no processor."""

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def latest(self, reasons: set[str | None]) -> Callable[[], bool]:
        """Whether the answers that came after this call include each of these reasons."""
        start = len(self.answers)
        return lambda: reasons <= {one.reason for one in self.answers[start:]}

    def _beat(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            time.sleep(BEAT)
            self.starved = max(self.starved, time.monotonic() - began - BEAT)

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self.address, timeout=60) as http:
            while not self._over.is_set():
                history = self.histories[len(self.answers) % len(self.histories)]
                body = {"history": history, "k": 5, "deadline_ms": int(1000 * DEADLINE)}
                began = time.monotonic()
                try:
                    answer = http.post("/v1/recommend", json=body)
                except httpx.HTTPError:
                    self.answers.append(Answered(0, time.monotonic() - began, None, 0))
                    continue
                said = answer.json()
                parts = (said.get("degraded") or {"parts": []})["parts"]
                reasons = [one["reason"] for one in parts if one["part"] == "llm"]
                seconds = time.monotonic() - began
                found = Answered(
                    answer.status_code, seconds, *(reasons or [None]), len(said.get("items", []))
                )
                self.answers.append(found)


@pytest.fixture(scope="module")
def histories(ws: Workspace) -> list[list[str]]:
    ids = (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()
    return [[ids[(7 * step + place) % len(ids)] for place in range(4)] for step in range(len(ids))]


def assert_all_answered_in_time(load: Load, reasons: set[str | None]) -> None:
    assert {one.status for one in load.answers} == {200}
    longest = max(one.seconds for one in load.answers)
    assert longest < DEADLINE + SLACK + 4 * load.starved, f"starved for {load.starved:.1f} s"
    assert all(one.items == 5 for one in load.answers), "the recommender stands in"
    assert {one.reason for one in load.answers} <= reasons


def test_a_killed_llm(address: str, histories: list[list[str]]) -> None:
    (replica,) = replicas("LiveLLM")
    with Load(address, histories) as load:
        wait_for(load.latest({None}), lambda: True)
        os.kill(replica, signal.SIGKILL)
        wait_for(load.latest({"failed"}), lambda: True, 60)
        wait_for(lambda: replicas("LiveLLM") not in ([], [replica]), lambda: True)
        wait_for(load.latest({None}), lambda: True)
    assert_all_answered_in_time(load, {None, "late", "failed"})


def test_a_stalled_llm(address: str, histories: list[list[str]]) -> None:
    (replica,) = replicas("LiveLLM")
    with Load(address, histories) as load:
        wait_for(load.latest({None}), lambda: True)
        missing, before = load.latest({"late", "failed"}), len(load.answers)
        os.kill(replica, signal.SIGSTOP)
        try:
            time.sleep(10)
        finally:
            os.kill(replica, signal.SIGCONT)
        assert missing(), "first they waited for it, then they did not even ask"
        assert len(load.answers) - before > 2 * CLIENTS * 10 / DEADLINE, "few waited for their deadline"
        wait_for(load.latest({None}), lambda: True)
    assert replicas("LiveLLM") == [replica], "it was not taken for dead"
    assert_all_answered_in_time(load, {None, "late", "failed"})


def test_an_llm_that_answers_nonsense(ws: Workspace, histories: list[list[str]], tmp_path: Path) -> None:
    """Its weights are others than those that made the lists. It names no item at all."""
    from ray import serve as ray_serve

    ray_serve.shutdown()
    shutil.copytree(str(ws), tmp_path / "run")
    broken = Workspace(str(tmp_path / "run"), ws.recipe)
    write_llm(broken, speechless=True)
    with served_here(RECIPE, broken) as address:
        (replica,) = replicas("LiveLLM")
        with Load(address, histories) as load:
            wait_for(lambda: len(load.answers) > 100, lambda: True)
        assert_all_answered_in_time(load, {"failed", "late"})
        assert "failed" in {one.reason for one in load.answers}
        told = httpx.get(f"{address}/metrics").text
        counts = [line for line in told.splitlines() if 'outcome="nonsense"' in line and "_total" in line]
        assert sum(float(line.rsplit(" ", 1)[1]) for line in counts) > 0
        assert replicas("LiveLLM") == [replica], "nonsense ends nothing"
