"""Too much load, and a replica that is killed under load, in both modes of Ray Serve."""

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from longtail.serving.replicas import DEPLOYMENT
from tests.stack.endpoints import Served, slow_endpoint
from tests.stack.load import Answer, storm
from tests.stack.processes import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.alone]

WORK_S = 1.0
CAPACITY = DEPLOYMENT["max_ongoing_requests"] / WORK_S
"""Requests per second that one replica bears, for the work is waiting."""
OVERLOAD_S = 30


@pytest.fixture(scope="module", params=["proxy", "haproxy"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def one_replica(mode: str) -> Iterator[Served]:
    with slow_endpoint("--mode", mode, "--longest", 30) as endpoint:
        yield endpoint


def load(served: Served, rate: float, seconds: float, work: float = WORK_S) -> list[Answer]:
    return asyncio.run(storm(served.url, rate, seconds, work))


def slowest(answers: list[Answer]) -> float:
    return float(np.percentile([answer.seconds for answer in answers if answer.status == 200], 99))


def test_four_times_too_much_is_refused_and_the_rest_answered(one_replica: Served) -> None:
    calm = load(one_replica, CAPACITY / 8, 5)
    assert {answer.status for answer in calm} == {200}
    (replica,) = one_replica.replicas()
    before = replica.memory_info().rss
    answers = load(one_replica, 4 * CAPACITY, OVERLOAD_S)
    after = replica.memory_info().rss
    accepted = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} == {429}
    waits = [int(answer.retry_after) for answer in refused]
    here = DEPLOYMENT["max_ongoing_requests"] + DEPLOYMENT["max_queued_requests"]
    # The first ones know the pace of the calm time only. What is here takes two rounds of work.
    assert min(waits) >= 1 and np.median(waits) <= 2 * here / CAPACITY
    assert len(accepted) >= 0.7 * CAPACITY * OVERLOAD_S, "the overload costs little of what could be answered"
    # Whoever is taken on waits for one round of others at most, however large the excess is.
    assert slowest(accepted) < 3 * slowest(calm)
    assert after < 1.1 * before
    again = load(one_replica, CAPACITY / 8, 5)
    assert {answer.status for answer in again} == {200} and slowest(again) < 2 * slowest(calm)
    assert sum(one_replica.metric("longtail_in_flight").values()) <= 1, (
        "only who asks for the metrics is here"
    )


def test_a_killed_replica_loses_what_it_was_working_on_and_nothing_else(mode: str) -> None:
    with slow_endpoint("--mode", mode, "--replicas", 2) as served:
        victim, killed = served.replicas()[0], []

        def kill() -> None:
            time.sleep(5)
            killed.append(time.monotonic())
            victim.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        answers = load(served, rate=20, seconds=20, work=0.2)
        killer.join()
        lost = [answer for answer in answers if answer.status != 200]
        early = [answer for answer in lost if not answer.began <= killed[0] <= answer.ended]
        assert not early, f"{len(early)} requests failed that were not in flight when the replica was killed"
        # Two replicas share what is in flight.
        in_flight = sum(answer.began <= killed[0] <= answer.ended for answer in answers)
        assert len(lost) < in_flight
        wait_for(lambda: len(served.replicas()) == 2, lambda: True, timeout=120)
        assert {answer.status for answer in load(served, rate=10, seconds=3, work=0.1)} == {200}
