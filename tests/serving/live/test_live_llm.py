"""The live LLM and its client without Serve: whatever an engine answers, a request gets an answer in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.exceptions import BackPressureError

from longtail.augment.lists_on_demand import ListsOnDemand
from longtail.augment.strategies.item_tokens import rare_items
from longtail.errors import InputError
from longtail.serving.answering.parts import NoList
from longtail.serving.live import live_llm
from longtail.serving.live.live_client import IN_A_ROW, PAUSE_SECONDS, QUESTIONS, LiveLLMClient
from longtail.serving.live.live_llm import (
    FAILED,
    LATE,
    MOVED_ON,
    NONSENSE,
    LiveList,
    LiveLLM,
    Question,
    Ranking,
    in_time,
)
from longtail.workspace import Workspace
from tests.augment.strategies.conftest import answered, options, store, strategy_of
from tests.augment.test_lists_on_demand import SECTION, engine, first

LISTS = ListsOnDemand(strategy_of(SECTION, "token"), None, "lists", None, None, rare_items(store()))
HISTORIES = [np.array([item], np.int32) for item in range(4)]
WORDS = options([0, 1, 2], [0.5, 0.3, 0.2])
NAN = {**WORDS, "option_logprobs": [float("nan")] * 3}


def saying(*said: dict | None) -> Callable[[pa.Table], pa.Table]:
    """An engine that gives these answers to the first questions, and good ones to the rest."""

    def answers(rows: pa.Table) -> pa.Table:
        return answered(rows, [[one] if one else None for one in (*said, *first(engine(rows))[len(said) :])])

    return answers


def test_good_answers_become_lists() -> None:
    found = Ranking(LISTS, engine).rank(HISTORIES)
    for one, history in zip(found, HISTORIES, strict=True):
        assert one.fault is None and len(one.items) and not set(one.items) & set(history)
        assert (np.diff(one.scores) <= 0).all()


def test_nonsense_is_told_apart_and_moves_no_other_list() -> None:
    good = Ranking(LISTS, engine).rank(HISTORIES)
    seen = options(LISTS.strategy.catalogue.tokens(HISTORIES[2]), [1.0])
    found = Ranking(LISTS, saying(WORDS, NAN, seen)).rank(HISTORIES)
    assert found[:3] == [NONSENSE] * 3, "words, no numbers, nothing but what is in the history"
    np.testing.assert_array_equal(found[3].items, good[3].items)


def test_a_rejected_question_fails_alone() -> None:
    found = Ranking(LISTS, saying(None)).rank(HISTORIES)
    assert found[0] is FAILED and all(one.fault is None for one in found[1:])


@pytest.mark.parametrize("broken", [lambda rows: rows, lambda rows: 1 / 0, lambda rows: engine(rows)[:0]])
def test_answers_that_cannot_be_read_end_nothing(broken: Callable[[pa.Table], pa.Table]) -> None:
    ranking = Ranking(LISTS, broken)
    assert {one.fault for one in ranking.rank(HISTORIES)} <= {"failed", "nonsense"}
    assert ranking.working == 0, "it is not taken for stuck"
    ranking.engine = engine
    assert all(one.fault is None for one in ranking.rank(HISTORIES))


def test_how_long_an_engine_works_is_known_while_it_does() -> None:
    seen = []

    def slow(rows: pa.Table) -> pa.Table:
        time.sleep(0.05)
        seen.append(ranking.working)
        return engine(rows)

    ranking = Ranking(LISTS, slow)
    ranking.rank(HISTORIES)
    assert seen[0] >= 0.05 and ranking.working == 0


@given(late=st.lists(st.booleans(), min_size=1, max_size=6))
def test_what_is_late_is_not_asked(late: list[bool]) -> None:
    histories = [np.array([row], np.int32) for row in range(len(late))]
    asked = []

    def rank(own: list[np.ndarray]) -> list[LiveList]:
        asked.extend(int(one[0]) for one in own)
        return [LiveList(items=one, scores=np.ones(1, np.float32)) for one in own]

    now = time.monotonic()
    found = asyncio.run(in_time(histories, [now - 1 if own else now + 60 for own in late], rank))
    assert asked == [row for row, own in enumerate(late) if not own]
    for row, (own, one) in enumerate(zip(late, found, strict=True)):
        assert one is LATE if own else one.items[0] == row


class Response:
    """As much of Serve's DeploymentResponse as the client uses."""

    def __init__(self, answer: Awaitable) -> None:
        self.answer, self.left = answer, False

    def __await__(self):
        return self.answer.__await__()

    def cancel(self) -> None:
        self.left = True


class Handle:
    """A handle whose methods do what a function of the question says."""

    def __init__(self, does: Callable[[Question], Awaitable[LiveList]]) -> None:
        self.does, self.responses = does, list[Response]()
        self.rank = self.version = self

    def remote(self, question: Question | None = None) -> Response:
        self.responses.append(Response(self.does(question)))
        return self.responses[-1]


LIST = LiveList(np.array([5, 6, 7], np.int32), np.array([0.9, 0.5, 0.1], np.float32))
HISTORY = np.array([1, 2], np.int32)


async def good(question: Question) -> LiveList:
    return LIST


async def stalled(question: Question) -> LiveList:
    await asyncio.sleep(60)
    return LIST


async def killed(question: Question) -> LiveList:
    raise RuntimeError("the actor died")


async def full(question: Question) -> LiveList:
    raise BackPressureError(num_queued_requests=9, max_queued_requests=8)


async def nonsense(question: Question) -> LiveList:
    return NONSENSE


async def of_another(question: Question) -> LiveList:
    return MOVED_ON


def ask(client: LiveLLMClient, left: float = 0.05, k: int = 10) -> list[int] | str:
    """The items, or the reason why there are none."""
    try:
        items, scores = asyncio.run(client.rank(HISTORY, k, "lists", left))
    except NoList as missing:
        return missing.reason
    assert len(scores) == len(items)
    return items.tolist()


def counted() -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in QUESTIONS.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.mark.parametrize(
    ("does", "says", "outcome"),
    [
        (good, [5, 6, 7], "answered"),
        (stalled, "late", "late"),
        (killed, "failed", "failed"),
        (full, "late", "late"),
        (nonsense, "failed", "nonsense"),
        (of_another, "not_live", "moved_on"),
    ],
)
def test_a_question_ends_with_items_or_a_reason_and_is_counted(
    does: Callable, says: list[int] | str, outcome: str
) -> None:
    before = counted()
    assert ask(LiveLLMClient(Handle(does))) == says
    assert counted() == before | {outcome: before.get(outcome, 0) + 1}


def test_at_most_k_items_come() -> None:
    assert ask(LiveLLMClient(Handle(good)), k=2) == [5, 6]


def test_a_late_question_is_taken_back_and_one_without_time_is_not_asked() -> None:
    handle = Handle(stalled)
    assert ask(LiveLLMClient(handle)) == "late"
    assert [one.left for one in handle.responses] == [True]
    handle = Handle(good)
    assert ask(LiveLLMClient(handle), left=0.0) == "late" and not handle.responses


def test_the_question_says_what_is_asked_for_and_how_long_it_may_take() -> None:
    asked = []

    async def keep(question: Question) -> LiveList:
        asked.append(question)
        return LIST

    ask(LiveLLMClient(Handle(keep)), left=3.0)
    (question,) = asked
    assert question.made_of == "lists" and 2.9 < question.left < 3.0
    np.testing.assert_array_equal(question.history, HISTORY)


def test_a_request_that_is_cancelled_takes_its_question_back() -> None:
    handle = Handle(stalled)

    async def leave() -> None:
        task = asyncio.create_task(LiveLLMClient(handle).rank(HISTORY, 10, "lists", 60.0))
        while not handle.responses:
            await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())
    assert handle.responses[0].left


def test_a_question_that_its_caller_ends_at_the_deadline_is_late() -> None:
    """The event loop was busy, so the caller's time and that of the question ended together."""
    now, before = [100.0], counted()

    async def end() -> None:
        client = LiveLLMClient(Handle(stalled), clock=lambda: now[0])
        task = asyncio.create_task(client.rank(HISTORY, 10, "lists", 60.0))
        await asyncio.sleep(0)
        now[0] += 60.0
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(end())
    assert counted()["late"] == before.get("late", 0) + 1


def test_an_llm_that_does_not_answer_is_left_alone_and_found_again() -> None:
    now, before = [100.0], counted()
    handle = Handle(killed)
    client = LiveLLMClient(handle, clock=lambda: now[0])
    assert {ask(client) for _ in range(IN_A_ROW + 5)} == {"failed"}
    assert len(handle.responses) == IN_A_ROW
    assert counted()["paused"] == before.get("paused", 0) + 5
    for pause in range(1, 4):
        now[0] += PAUSE_SECONDS
        assert {ask(client) for _ in range(3)} == {"failed"}
        assert len(handle.responses) == IN_A_ROW + pause, "one question for each pause"
    now[0] += PAUSE_SECONDS
    handle.does = good
    assert [ask(client) for _ in range(3)] == [[5, 6, 7]] * 3, "all are asked again"


def test_nonsense_is_an_answer_so_the_llm_is_asked_again() -> None:
    handle = Handle(nonsense)
    client = LiveLLMClient(handle)
    assert {ask(client) for _ in range(2 * IN_A_ROW)} == {"failed"}
    assert len(handle.responses) == 2 * IN_A_ROW


def test_once_it_was_ready_a_dead_llm_is_no_reason_to_refuse_requests() -> None:
    client = LiveLLMClient(Handle(killed))
    with pytest.raises(RuntimeError, match="died"):
        asyncio.run(client.check())
    client._handle.does = good
    asyncio.run(client.check())
    client._handle.does = killed
    asyncio.run(client.check())


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A replica with a made-up engine. `served`: the fingerprint of the lists that are served, or what reading it raises."""
    made = object.__new__(LiveLLM.func_or_class)
    made.ws, made.ranking, made.made_of, made.served = None, Ranking(LISTS, engine), "lists", "lists"

    def served(ws: None) -> SimpleNamespace:
        if isinstance(made.served, Exception):
            raise made.served
        return SimpleNamespace(recommender="bpr", answers="a", made_of={"a": made.served})

    monkeypatch.setattr(live_llm, "read_artefact", served)
    return made


def test_a_replica_answers_only_for_the_lists_that_it_can_make(replica: Any) -> None:
    assert asyncio.run(replica.rank(Question(HISTORY, "others", 60.0))) is MOVED_ON


def test_a_replica_is_replaced_if_it_is_stuck_or_other_lists_are_served(
    replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(replica.check_health())
    for served in (InputError("a run writes here"), OSError("the bucket is away")):
        replica.served = served
        asyncio.run(replica.check_health())
    replica.served = "others"
    with pytest.raises(RuntimeError, match="were made again"):
        asyncio.run(replica.check_health())
    replica.served = "lists"
    monkeypatch.setattr(Ranking, "working", live_llm.STUCK_SECONDS + 1)
    with pytest.raises(RuntimeError, match="more than 60 s"):
        asyncio.run(replica.check_health())


def test_without_a_list_there_is_nothing_to_make_live(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = SimpleNamespace(recommender="bpr", answers=None)
    monkeypatch.setattr(live_llm, "read_artefact", lambda ws: alone)
    with pytest.raises(InputError, match="serving.live.*serves bpr without a list"):
        live_llm.with_list(Workspace("/nowhere"))
