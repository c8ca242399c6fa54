"""The event log of one replica: it writes what this one is told, and learns what the others were told."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple
from uuid import uuid4

from prometheus_client import Counter, Gauge

from longtail.errors import InputError
from longtail.event_log.arms_record import write_arms
from longtail.event_log.log_follower import LogFollower
from longtail.event_log.log_writer import log_writer
from longtail.event_log.records import INTERACTIONS, RECOMMENDATIONS, line
from longtail.recipe import Serving
from longtail.serving.arms import Arms
from longtail.serving.events.commits import Commits, LogFull
from longtail.serving.events.known_ids import KnownIds
from longtail.serving.events.recent_items import RecentItems, Taken
from longtail.serving.messages.answer_messages import EventsAnswer, Recommendation
from longtail.serving.messages.problems import Refused
from longtail.serving.messages.request_messages import Event
from longtail.serving.metrics import REGISTRY
from longtail.workspace import Workspace
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

EVENTS = Counter("longtail_events", "Events by outcome.", ["outcome"], registry=REGISTRY)
NOT_WRITTEN = Counter(
    "longtail_recommendations_not_written",
    "Recommendations that are not in the event log, because it could not be written as fast.",
    registry=REGISTRY,
)
IN_MEMORY = Gauge("longtail_events_in_memory", "Pairs of user and item that answers know.", registry=REGISTRY)
FORGOTTEN = Gauge(
    "longtail_events_forgotten",
    "Pairs that answers know no more, because there is no room.",
    registry=REGISTRY,
)
UNREADABLE = Gauge(
    "longtail_event_log_unreadable",
    "1 while the log cannot be read, so that the events of other replicas are not known.",
    registry=REGISTRY,
)
LOOK_S, LOOK_IN_A_BUCKET_S = 0.1, 1.0
"""How often a replica looks for the events of the others; and how often it writes to a bucket, one object each time."""
MOST_IDS = 200_000
"""Event ids that a replica keeps, to know an event that is sent again. Clients try again within minutes."""


class _Told(NamedTuple):
    """What a replica keeps of one event."""

    event_id: str
    kind: str
    taken: Taken

    @classmethod
    def of(cls, record: dict[str, Any]) -> "_Told":
        """Raises KeyError or TypeError if it is no row of event_log.records.INTERACTION."""
        taken = Taken(record["user_id"], record["item_id"], int(record["time"]))
        return cls(record["event_id"], record["kind"], taken)


class EventRecorder:
    """Writes events and recommendations, and knows the latest items of every user. Its memory is bounded."""

    def __init__(self, place: Place, kinds: list[str] | None, remembered: int) -> None:
        """Read what users did lately, and follow the log from there on.

        place: the log. kinds: those that count as interactions; None: all. remembered: events that are kept in memory.
        Raises InputError if the log cannot be written.
        """
        self.place, self.recent = place, RecentItems(remembered)
        IN_MEMORY.set_function(lambda: self.recent.kept)
        FORGOTTEN.set_function(lambda: self.recent.forgotten)
        self._kinds = None if kinds is None else frozenset(kinds)
        self._ids = KnownIds(MOST_IDS)
        _require_writable(place)
        pause = 0.0 if place.is_local else LOOK_IN_A_BUCKET_S
        writer = log_writer(place / INTERACTIONS)
        self._interactions = Commits(writer, pause_s=pause)
        self._recommendations = Commits(
            log_writer(place / RECOMMENDATIONS, durable=False), pause_s=max(pause, LOOK_S)
        )
        self._follower = LogFollower(place / INTERACTIONS, own=writer.writer)
        self._closed = threading.Event()
        self._read_past()
        self._thread = threading.Thread(
            target=self._follow, args=(max(pause, LOOK_S),), name="event-follower", daemon=True
        )
        self._thread.start()

    def of(self, user_id: str) -> list[str]:
        """The ids of the items that a user took lately, oldest first; see `RecentItems.of`."""
        return self.recent.of(user_id)

    def record(self, events: list[Event]) -> tuple[list[Future[None]], int]:
        """Have events written, and know them once they are.

        Returns the writes that must end before they may be acknowledged, and how many of the events were known before. A
        write raises OSError if it failed. Raises LogFull if too much waits to be written.
        """
        writes: set[Future[None]] = set()
        new: dict[str, Event] = {}
        for event in events:
            if (under_way := self._ids.find(event.event_id)) is not None:
                writes.add(under_way)
            else:
                new.setdefault(event.event_id, event)
        if new:
            now = time.time_ns()
            records = [_record(event, now) for event in new.values()]
            told = [_Told.of(record) for record in records]
            write = self._interactions.add(b"".join(map(line, records)), then=lambda: self._know(told))
            self._ids.add_writing(new, write)
            writes.add(write)
        return list(writes), len(events) - len(new)

    async def tell(self, events: list[Event]) -> EventsAnswer:
        """Answer when the events are in the log and known here. Raises Refused, 503, if they could not be written."""
        try:
            writes, duplicates = self.record(events)
            await asyncio.gather(*map(asyncio.wrap_future, writes))
        except LogFull:
            raise Refused(
                503, "The event log cannot be written as fast as events come. Send them again."
            ) from None
        except OSError as error:
            raise Refused(
                503, f"The event log cannot be written: {error.strerror}. Send the events again."
            ) from None
        EVENTS.labels("written").inc(len(events) - duplicates)
        EVENTS.labels("duplicate").inc(duplicates)
        return EventsAnswer(accepted=len(events), duplicates=duplicates)

    def served(self, answer: Recommendation) -> None:
        """Write down a recommendation. The answer does not wait for it, so the latest are lost if the process is killed."""
        record = {
            "recommendation_id": answer.recommendation_id,
            "time": time.time_ns(),
            "user_id": answer.user,
            "arm": answer.arm,
            "model_version": answer.model_version,
            "items": [item.item_id for item in answer.items],
        }
        try:
            self._recommendations.add(line(record))
        except LogFull:
            NOT_WRITTEN.inc()

    def close(self) -> None:
        """Write what waits, and stop following."""
        self._closed.set()
        self._thread.join()
        self._interactions.close()
        self._recommendations.close()

    def _read_past(self) -> None:
        for lines in self._follower.past():
            past = self._read(reversed(lines))
            self._ids.add(event.event_id for event in past)
            if not self.recent.add_older(self._counting(past)):
                log.warning("%s: only the latest %d events are kept in memory.", self.place, self.recent.most)
                break

    def _follow(self, look_s: float) -> None:
        well = True
        while not self._closed.wait(look_s):
            try:
                for lines in self._follower.new():
                    self._know(self._read(lines))
                well = True
                UNREADABLE.set(0)
            except OSError as error:
                UNREADABLE.set(1)
                if well:
                    log.error(
                        "%s cannot be read, so events of other replicas are not known: %s", self.place, error
                    )
                well = False

    def _know(self, told: list[_Told]) -> None:
        """Know events that are in the log now."""
        self._ids.add(event.event_id for event in told)
        self.recent.add(self._counting(told))

    def _counting(self, told: Iterable[_Told]) -> Iterator[Taken]:
        return (one.taken for one in told if self._kinds is None or one.kind in self._kinds)

    def _read(self, lines: Iterable[bytes]) -> list[_Told]:
        """The events, without lines that somebody has damaged: `prepare` names them, and serving goes on."""
        found = []
        for text in lines:
            try:
                found.append(_Told.of(json.loads(text)))
            except (ValueError, KeyError, TypeError):
                log.warning("%s: a line is no event and is passed over: %.80r", self.place, text)
        return found


def open_log(ws: Workspace, serving: Serving) -> EventRecorder:
    """The log of a workspace, or the one that the settings name. It is told which arms are served from now on.

    Raises InputError if it cannot be written.
    """
    place = Place.named(serving.events.log, "serving.events.log") if serving.events.log else ws / "events"
    recorder = EventRecorder(place, serving.events.kinds, serving.events.remembered)
    arms = Arms.of_serving(serving)
    settings = {
        name: serving.of_arm(name).model_dump(mode="json", exclude_unset=True) for name in arms.shares
    }
    write_arms(place, dict(arms.shares), arms.salt, settings)
    return recorder


def _record(event: Event, now: int) -> dict[str, Any]:
    """A row of event_log.records.INTERACTION."""
    return {
        "event_id": event.event_id,
        "received": now,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "time": now if event.timestamp is None else min(now, round(event.timestamp * 1e6) * 1000),
        "kind": event.kind,
        "weight": event.weight,
        "recommendation_id": event.recommendation_id,
    }


def _require_writable(place: Place) -> None:
    probe = place / f"_probe-{uuid4().hex}"
    try:
        probe.write_bytes(b"")
        probe.delete()
    except OSError as error:
        raise InputError(
            f"{place}: the event log cannot be written: {error}. Set serving.events.log to a folder or URI that can."
        ) from None
