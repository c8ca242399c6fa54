"""The log of one replica, and of several that share a folder, without HTTP."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from longtail.errors import InputError
from longtail.event_log.arms_record import latest_arms
from longtail.event_log.log_files import log_files, read_log_file
from longtail.event_log.records import INTERACTION, INTERACTIONS, RECOMMENDATION, RECOMMENDATIONS
from longtail.recipe import Serving
from longtail.serving.events import EventRecorder, open_log, recorder
from longtail.serving.messages.answer_messages import Recommendation, RecommendedItem
from longtail.serving.messages.problems import Refused
from longtail.serving.messages.request_messages import Event
from longtail.serving.metrics import REGISTRY
from longtail.workspace import Workspace
from longtail.workspace.place import Place
from tests.event_log.test_log_writer import bucket

Open = Callable[..., EventRecorder]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(pafs.LocalFileSystem(), str(tmp_path / "log"))


@pytest.fixture
def replica(place: Place) -> Iterator[Open]:
    """A replica that writes to `place`, or to another log."""
    opened = []

    def begin(at: Place = place, kinds: list[str] | None = None, remembered: int = 1000) -> EventRecorder:
        opened.append(EventRecorder(at, kinds, remembered))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def event(number: int = 0, **more: object) -> Event:
    return Event(**{"event_id": f"e{number}", "user_id": "u", "item_id": f"i{number}"} | more)


def tell(to: EventRecorder, *events: Event) -> tuple[int, int]:
    answer = asyncio.run(to.tell(list(events)))
    return answer.accepted, answer.duplicates


def log_of(place: Place, folder: str = INTERACTIONS, schema=INTERACTION) -> list[dict]:
    return [
        row for file in log_files(place / folder) for row in read_log_file(file.place, schema).to_pylist()
    ]


def soon(happens: Callable[[], bool]) -> None:
    """What another replica does in its own time, but soon."""
    end = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_answer_means_that_it_is_in_the_log_and_known(replica: Open, place: Place) -> None:
    here, before = replica(), time.time_ns()
    assert tell(
        here, event(1, timestamp=1000.25, kind="buy", weight=2.5, recommendation_id="r"), event(2)
    ) == (2, 0)
    first, second = log_of(place)
    assert before <= first["received"] == second["received"] <= time.time_ns()
    assert first == {
        "event_id": "e1",
        "received": first["received"],
        "user_id": "u",
        "item_id": "i1",
        "time": 1000_250_000_000,
        "kind": "buy",
        "weight": 2.5,
        "recommendation_id": "r",
    }
    assert (second["time"], second["kind"], second["weight"]) == (second["received"], "interaction", None)
    assert here.of("u") == ["i1", "i2"]


def test_a_time_that_is_still_to_come_is_now(replica: Open, place: Place) -> None:
    tell(replica(), event(timestamp=4_000_000_000))
    assert log_of(place)[0]["time"] == log_of(place)[0]["received"]


def test_an_event_that_is_sent_again_is_not_written_again(replica: Open, place: Place) -> None:
    here = replica()
    assert tell(here, event(1), event(1), event(2)) == (3, 1)
    assert tell(here, event(2), event(3)) == (2, 1)
    assert tell(here, event(2), event(3)) == (2, 2)
    assert [row["event_id"] for row in log_of(place)] == ["e1", "e2", "e3"]


def test_a_write_that_failed_is_no_duplicate_later(
    replica: Open, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replica()

    def full(lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(here._interactions._writer, "append", full)
        with pytest.raises(Refused, match="No space left on device. Send the events again") as refused:
            tell(here, event(1))
    assert refused.value.status == 503 and here.of("u") == []
    assert tell(here, event(1)) == (1, 0) and len(log_of(place)) == 1


def test_too_many_events_are_refused_and_too_many_recommendations_counted(
    replica: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replica()
    for commits in (here._interactions, here._recommendations):
        monkeypatch.setattr(commits, "_most", 10)
    with pytest.raises(Refused, match="as fast as events come"):
        tell(here, event(1))
    before = REGISTRY.get_sample_value("longtail_recommendations_not_written_total")
    here.served(answer())
    assert REGISTRY.get_sample_value("longtail_recommendations_not_written_total") == before + 1


def test_events_are_counted_by_outcome(replica: Open) -> None:
    def counted() -> list[float]:
        labels = ({"outcome": name} for name in ("written", "duplicate"))
        found = (REGISTRY.get_sample_value("longtail_events_total", one) for one in labels)
        return [one or 0.0 for one in found]

    here, before = replica(), counted()
    tell(here, event(1), event(1), event(2))
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1]
    assert REGISTRY.get_sample_value("longtail_events_in_memory") == 2


@pytest.mark.parametrize("at", ["folder", "bucket"])
def test_replicas_learn_each_others_events_and_ids(
    replica: Open, place: Place, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "LOOK_IN_A_BUCKET_S", 0.1)
    log = place if at == "folder" else bucket()
    first, second = replica(log), replica(log)
    tell(first, event(1, timestamp=2))
    tell(second, event(2, timestamp=1))
    soon(lambda: first.of("u") == second.of("u") == ["i2", "i1"])
    assert tell(second, event(1)) == (1, 1) and len(log_of(log)) == 2


def test_a_new_replica_knows_what_was_told_before_it_began(replica: Open) -> None:
    """As after a crash: what was acknowledged is there, in the order of time."""
    first = replica()
    for number in (3, 1, 2):
        tell(first, event(number, timestamp=number))
    assert replica().of("u") == ["i1", "i2", "i3"]
    assert replica(remembered=2).of("u") == ["i2", "i3"] or replica(remembered=2).recent.kept == 2


def test_only_some_kinds_are_interactions_but_all_are_kept(replica: Open, place: Place) -> None:
    here = replica(kinds=["buy"])
    tell(here, event(1, kind="view"), event(2, kind="buy"))
    assert here.of("u") == ["i2"] == replica(kinds=["buy"]).of("u") and len(log_of(place)) == 2


def test_a_damaged_line_ends_nothing(replica: Open, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    first = replica()
    tell(first, event(1))
    (file,) = log_files(place / INTERACTIONS)
    with caplog.at_level(logging.WARNING, "longtail"), open(file.place.path, "ab") as stream:
        stream.write(b'{oops\n7\n{"event_id": "e"}\n')
    second = replica()
    tell(first, event(2))
    soon(lambda: second.of("u") == ["i1", "i2"])
    assert "oops" in caplog.text


def answer(**more: object) -> Recommendation:
    item = RecommendedItem(
        item_id="i1",
        title=None,
        score=1,
        recommender_rank=1,
        llm_rank=None,
        recommender_utility=1,
        llm_utility=None,
    )
    about = {
        "items": [item],
        "user": "u",
        "user_known": True,
        "interactions": 1,
        "alpha": 0,
        "sparsity": 0,
        "recommender": "itemcf",
        "list": None,
        "recommendation_id": "r1",
        "model_version": "v1",
        "arm": "a",
        "took_ms": 1,
        "degraded": None,
    }
    return Recommendation(**about | more)


def test_what_was_served_is_written_down(replica: Open, place: Place) -> None:
    here = replica()
    here.served(answer())
    here.served(answer(user=None, recommendation_id="r2"))
    here.close()
    assert [
        (row["recommendation_id"], row["user_id"], row["arm"], row["items"]) for row in served(place)
    ] == [
        ("r1", "u", "a", ["i1"]),
        ("r2", None, "a", ["i1"]),
    ]


def served(place: Place) -> list[dict]:
    return log_of(place, RECOMMENDATIONS, RECOMMENDATION)


def test_the_log_is_in_the_workspace_and_knows_the_arms(tmp_path: Path) -> None:
    serving = Serving(arms={"a": {"share": 0.9}, "b": {"share": 0.1, "serving": {"alpha_1": 0.5}}}, salt="s")
    for _ in range(2):  # a second replica, or a restart, begins no new test
        open_log(Workspace(str(tmp_path)), serving).close()
    log = Workspace(str(tmp_path)) / "events"
    found = latest_arms(log)
    assert (found.shares, found.salt) == ({"a": 0.9, "b": 0.1}, "s")
    assert found.settings == {"a": {}, "b": {"alpha_1": 0.5}}
    assert len((log / "arms").files()) == 1
    open_log(Workspace(str(tmp_path)), Serving()).close()
    assert latest_arms(log).shares == {"default": 1.0} and len((log / "arms").files()) == 2


def test_a_log_that_cannot_be_written_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"serving\.events\.log"):
        open_log(Workspace(str(tmp_path)), Serving(events={"log": f"{tmp_path}/file/log"}))
