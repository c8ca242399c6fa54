"""What could not be answered in time is refused with the time that it takes, and nothing stays for ever."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from longtail.serving.edge import load
from longtail.serving.edge.load import Gate, Pace
from tests.serving.edge.protected import ask, chunks, protected


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(load, "time", clock)
    yield clock


def test_side_by_side_answers_share_the_time(clock: Clock) -> None:
    """Ten at a time, each takes a second: one answer in 0.1 s."""
    pace = Pace()
    for _ in range(30):
        began = [pace.began() for _ in range(10)]
        for moment in began:
            clock.now += 0.1
            pace.ended(moment, answered=True)
    assert pace.interval == pytest.approx(0.1)
    for _ in range(50):
        pace.began()
    assert pace.wait == pytest.approx(5.0) and pace.retry_after == "5"


def test_a_burst_and_the_gap_before_it_are_one_pace(clock: Clock) -> None:
    """Thirty-two at a time, each takes a second, so they end together: one answer in 1/32 s, whenever it is asked for."""
    pace, seen = Pace(), []
    for _ in range(20):
        began = [pace.began() for _ in range(32)]
        clock.now += 1
        for moment in began:
            pace.ended(moment, answered=True)
            seen.append(pace.interval)
    assert all(one == pytest.approx(1 / 32, rel=0.4) for one in seen[320:])


def test_time_without_requests_does_not_count(clock: Clock) -> None:
    pace = Pace()
    for _ in range(5):
        clock.now += 1000
        began = pace.began()
        clock.now += 0.25
        pace.ended(began, answered=True)
    assert pace.interval == pytest.approx(0.25)


def test_refusals_say_nothing_about_the_pace(clock: Clock) -> None:
    pace = Pace()
    began = pace.began()
    clock.now += 2
    pace.ended(began, answered=True)
    for _ in range(100):
        pace.ended(pace.began(), answered=False)
    assert pace.interval == pytest.approx(2.0) and pace.in_flight == 0


@given(st.lists(st.tuples(st.sampled_from(["began", "answered", "left"]), st.floats(0, 10)), max_size=50))
def test_the_depth_is_what_has_come_and_not_gone(steps: list[tuple[str, float]]) -> None:
    pace, here = Pace(), []
    for step, _ in steps:
        if step == "began":
            here.append(pace.began())
        elif here:
            pace.ended(here.pop(0), answered=step == "answered")
        assert pace.in_flight == len(here) and pace.interval >= 0
        assert int(pace.retry_after) >= max(1.0, pace.wait)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse("here")(scope, receive, send)


def gate(pace: Pace, deadline: float = 1.0, longest: float = 5.0) -> Gate:
    return Gate(_answer, pace, deadline, longest, frozenset({"/livez"}))


def test_what_could_not_be_answered_in_time_is_refused_at_once() -> None:
    pace = Pace()
    pace.in_flight, pace.interval = 20, 0.2
    answer = ask(gate(pace), "GET", "/v1/ask")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "4")
    assert ask(gate(pace), "GET", "/livez").status_code == 200, "who is overloaded lives"
    assert ask(gate(pace, deadline=4.0), "GET", "/v1/ask").status_code == 200
    assert pace.in_flight == 20


def test_one_slow_answer_does_not_make_it_refuse(clock: Clock) -> None:
    """The first answer of a process takes seconds, and sixteen clients wait already."""
    pace = Pace()
    began = pace.began()
    clock.now += 100
    pace.ended(began, answered=True)
    pace.in_flight = load.ALWAYS_TAKEN - 1
    assert ask(gate(pace), "GET", "/v1/ask").status_code == 200
    pace.in_flight += 1
    assert ask(gate(pace), "GET", "/v1/ask").status_code == 429


def test_a_server_that_was_never_asked_refuses_nobody() -> None:
    pace = Pace()
    pace.in_flight = 1000
    assert ask(gate(pace), "GET", "/v1/ask").status_code == 200


def test_an_answer_that_does_not_come_is_503_and_a_body_that_does_not_come_408() -> None:
    app = protected(longest=0.05)
    late = ask(app, "GET", "/v1/sleep")
    assert late.status_code == 503 and late.headers["retry-after"] == "1"

    async def stalled() -> httpx.Response:
        async def never_ends():
            yield b"{"
            await asyncio.sleep(3600)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            headers = {"content-type": "application/json"}
            return await client.post("/v1/ask", content=never_ends(), headers=headers)

    assert asyncio.run(stalled()).status_code == 408


def test_a_timeout_inside_is_no_timeout_of_the_gate() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError

    pace = Pace()
    with pytest.raises(TimeoutError):
        asyncio.run(Gate(failing, pace, 1, 5, frozenset())({"type": "http", "path": "/"}, None, None))
    assert pace.in_flight == 0


def test_an_overloaded_server_recovers() -> None:
    """At 200 at once some are refused; one by one afterwards none is."""
    slow = asyncio.Semaphore(2)

    async def work(scope: Scope, receive: Receive, send: Send) -> None:
        async with slow:
            await asyncio.sleep(0.01)
        await PlainTextResponse("here")(scope, receive, send)

    pace = Pace()
    app = Gate(work, pace, deadline=0.2, longest=600.0, always=frozenset())

    async def storm() -> tuple[list[int], list[int]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            statuses = []
            for _ in range(5):
                at_once = await asyncio.gather(*(client.get("/") for _ in range(100)))
                statuses += [answer.status_code for answer in at_once]
            calm = [(await client.get("/")).status_code for _ in range(20)]
        return statuses, calm

    statuses, calm = asyncio.run(storm())
    assert {200, 429} == set(statuses) and calm == [200] * 20
    assert pace.in_flight == 0


def test_bodies_pass_the_gate_whole() -> None:
    app = protected()
    headers = {"content-type": "application/json"}
    answer = ask(app, "POST", "/v1/ask", content=chunks(b'{"hist', b'ory": ', b"[]}"), headers=headers)
    assert answer.json()["k"] == 10
