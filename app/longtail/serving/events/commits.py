"""Group commit: what arrives while the disk is at work is written together, by one `append` and one fsync.

So a request waits for at most two writes, and a slow disk or bucket makes the groups larger, not the queue longer.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from longtail.event_log.log_writer import LogWriter

log = logging.getLogger("longtail")
MOST_WAITING = 16 << 20
"""Bytes that may wait. More means that the log cannot be written as fast as it is told."""


class LogFull(Exception):
    """Too much waits to be written. The client should try again later."""


class Commits:
    """Writes lines in a thread of its own, in the order in which they were given."""

    def __init__(self, writer: LogWriter, most_waiting: int = MOST_WAITING, pause_s: float = 0.0) -> None:
        """pause_s: the least time between two writes. A bucket is told once a second, which makes few objects."""
        self._writer, self._most, self._pause = writer, most_waiting, pause_s
        self._waiting: list[_Waiting] = []
        self._bytes, self._closed = 0, threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def add(self, lines: bytes, then: Callable[[], None] = lambda: None) -> Future[None]:
        """Have whole lines written, and `then` called. After that comes the result, or OSError if they are not written.

        Raises LogFull if too much waits already.
        """
        written: Future[None] = Future()
        written.set_running_or_notify_cancel()  # a client who leaves does not take back what is told
        with self._changed:
            if self._bytes + len(lines) > self._most or self._closed.is_set():
                raise LogFull
            self._waiting.append(_Waiting(lines, then, written))
            self._bytes += len(lines)
            self._changed.notify()
        return written

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closed.set()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next():
            error: Exception | None = None
            try:
                self._writer.append(b"".join(one.lines for one in group))
            except OSError as fault:
                log.error("The event log cannot be written: %s", fault)
                error = fault
            for one in group:
                one.end(error)
            self._closed.wait(self._pause)
        self._writer.close()

    def _next(self) -> list["_Waiting"]:
        """All that waits; it waits for the first. [] if there is nothing and it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
            group, self._waiting, self._bytes = self._waiting, [], 0
            return group


class _Waiting(NamedTuple):
    lines: bytes
    then: Callable[[], None]
    written: Future[None]

    def end(self, error: Exception | None) -> None:
        try:
            if error is None:
                self.then()
        except Exception as fault:  # it must reach who waits, and must not end the thread
            error = fault
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)
