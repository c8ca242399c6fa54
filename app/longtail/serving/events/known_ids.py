"""Which events are written already, by event_id, in bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future

_WRITTEN: Future[None] = Future()
_WRITTEN.set_result(None)


class KnownIds:
    """The latest ids, each with the write that it is in.

    It spares a second write only. An id that is forgotten, or that another process has written at the same time, is in the
    log twice, and whoever reads the log keeps one. Any thread may use it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._writes: OrderedDict[str, Future[None]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, event_id: str) -> Future[None] | None:
        """The write of an event, done or under way; None if there is none, or if it failed."""
        with self._lock:
            found = self._writes.get(event_id)
        return None if found is None or (found.done() and found.exception()) else found

    def add(self, event_ids: Iterable[str]) -> None:
        """Add events that are in the log."""
        self._put(event_ids, _WRITTEN)

    def add_writing(self, event_ids: Iterable[str], write: Future[None]) -> None:
        """Add events that `write` writes, if `add` has not done so already, because the write was faster than this call."""
        if not write.done() or write.exception():
            self._put(event_ids, write)

    def _put(self, event_ids: Iterable[str], write: Future[None]) -> None:
        with self._lock:
            for one in event_ids:
                self._writes[one] = write
            while len(self._writes) > self._most:
                self._writes.popitem(last=False)
