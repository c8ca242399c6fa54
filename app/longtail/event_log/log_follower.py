"""What other processes append to a log, as it comes.

A look lists the folders of this hour and of the hour before, and reads what is new at the end of each file.
"""

import time
from collections.abc import Callable, Iterator

from longtail.event_log.log_files import LogFile, hour_of, log_files, log_hours
from longtail.workspace.place import Place

HOUR = 3_600 * 1_000_000_000
READ_AT_ONCE = 1 << 20
"""Bytes; also the longest line that is surely read."""


class LogFollower:
    """Follows one folder of a log. It is used by one thread at a time."""

    def __init__(self, folder: Place, own: str = "", clock: Callable[[], int] = time.time_ns) -> None:
        """own: the writer whose files are left out, because its process knows what it wrote."""
        self._folder, self._own, self._clock = folder, own, clock
        self._read: dict[str, int] = {}

    def past(self) -> Iterator[list[bytes]]:
        """The lines that are there already, one list per file, the newest file first.

        What the caller does not ask for is not read, so it may stop when it knows enough. The next look begins where this
        one ended.
        """
        since = self._recent()
        recent = log_files(self._folder, since)
        self._read = {file.place.path: _whole(file) for file in recent}
        older = reversed(log_hours(self._folder, before=since))
        for hour in (None, *older):
            files = log_files(self._folder, hour.name, f"{hour.name}~") if hour else recent
            for file in reversed(files):
                if file.writer != self._own:
                    yield _lines(file.place, 0, self._read.get(file.place.path, file.bytes))[0]

    def new(self) -> Iterator[list[bytes]]:
        """The lines that were appended since the last look, at most READ_AT_ONCE bytes at a time."""
        files = [file for file in log_files(self._folder, self._recent()) if file.writer != self._own]
        there = {file.place.path for file in files}
        self._read = {path: end for path, end in self._read.items() if path in there}
        for file in files:
            path = file.place.path
            while (start := self._read.get(path, 0)) < file.bytes:
                lines, end = _lines(file.place, start, min(file.bytes, start + READ_AT_ONCE))
                if end == start:
                    break  # a part of a line: the writer is at work, or was killed
                self._read[path] = end
                yield lines

    def _recent(self) -> str:
        """The hour before, because clocks differ and a process may be about to begin its file of this hour."""
        return hour_of(self._clock() - HOUR)


def _whole(file: LogFile) -> int:
    """Where the last whole line of a file ends. An object in a bucket is never seen before it is whole."""
    if not file.place.is_local:
        return file.bytes
    start = max(0, file.bytes - READ_AT_ONCE)
    return _lines(file.place, start, file.bytes)[1]


def _lines(file: Place, start: int, end: int) -> tuple[list[bytes], int]:
    """The whole lines between two bytes of a file, and where they end. The first one must begin at `start`."""
    with file.fs.open_input_file(file.path) as stream:
        stream.seek(start)
        found = stream.read(end - start)
    whole = found.rfind(b"\n") + 1
    return found[:whole].splitlines(), start + whole
