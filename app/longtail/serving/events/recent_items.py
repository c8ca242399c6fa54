"""What users took lately, by user id, in bounded memory. It outlives every version of the model."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

LATEST = 1000
"""Items of one user that are kept."""


class Taken(NamedTuple):
    """A user took an item. time: ns since 1970."""

    user_id: str
    item_id: str
    time: int


class RecentItems:
    """The items of the users who did something last; who did nothing for longest is forgotten first.

    Whether an event is added once or twice makes no difference. Any thread may use it.
    """

    def __init__(self, most: int) -> None:
        """most: pairs of user and item that are kept."""
        self.most = most
        self.kept = 0
        """Pairs that are kept now."""
        self.forgotten = 0
        """Pairs that were dropped because there was no room. The log has them still."""
        self._users: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, user_id: str) -> list[str]:
        """The ids of the items that a user took, each once, oldest first.

        The model may not know them, or may know them already from the log that it was made from.
        """
        with self._lock:
            times = self._users.get(user_id)
            return sorted(times, key=times.__getitem__) if times else []

    def add(self, events: Iterable[Taken]) -> None:
        """Add events as they happen: their users are the last ones to be forgotten."""
        with self._lock:
            for event in events:
                self._put(event)
                self._users.move_to_end(event.user_id)
            while self.kept > self.most:
                _, lost = self._users.popitem(last=False)
                self.kept -= len(lost)
                self.forgotten += len(lost)

    def add_older(self, events: Iterable[Taken]) -> bool:
        """Add events of before, the latest first, as far as there is room. Returns whether there is room for more."""
        with self._lock:
            for event in events:
                if self.kept >= self.most:
                    return False
                new = event.user_id not in self._users
                self._put(event)
                if new:
                    self._users.move_to_end(event.user_id, last=False)
        return True

    def _put(self, event: Taken) -> None:
        times = self._users.setdefault(event.user_id, {})
        self.kept += event.item_id not in times
        times[event.item_id] = min(event.time, times.get(event.item_id, event.time))
        if len(times) > LATEST:
            del times[min(times, key=times.__getitem__)]
            self.kept -= 1
            self.forgotten += 1
