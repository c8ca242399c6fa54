"""Append to a log so that what was appended survives a killed process.

In a local folder (or one that nodes share) lines are appended to one file per process, which is synchronised with the
disk before `append` returns. A bucket cannot append, so there every `append` writes an object of its own, which is
durable once it is there. In both cases a new file begins with every hour, so the folder of an hour that is over is never
changed again.
"""

import os
import time
from collections.abc import Callable
from typing import Protocol
from uuid import uuid4

from longtail.event_log.log_files import file_name, hour_of
from longtail.workspace.place import Place

LARGEST_FILE = 64 << 20
"""Bytes after which a new file begins."""


class LogWriter(Protocol):
    """Writes one of the folders of a log. It is used by one thread at a time."""

    writer: str
    """Which process writes: 8 hexadecimal digits in the names of its files."""

    def append(self, lines: bytes) -> None:
        """Write whole lines. They are durable when this returns. Raises OSError if they could not be written."""

    def close(self) -> None: ...


def log_writer(folder: Place, durable: bool = True) -> LogWriter:
    """A writer with a name of its own. durable: whether to wait for the disk; a bucket is always waited for."""
    writer = uuid4().hex[:8]
    return AppendedFile(folder, writer, durable) if folder.is_local else Objects(folder, writer)


class Objects:
    """One object per `append`."""

    def __init__(self, folder: Place, writer: str, clock: Callable[[], int] = time.time_ns) -> None:
        self._folder, self.writer, self._clock = folder, writer, clock
        self._latest = 0

    def append(self, lines: bytes) -> None:
        now = self._latest = max(self._clock(), self._latest + 1)  # two objects never have one name
        (self._folder / hour_of(now) / file_name(now, self.writer)).write_bytes(lines)

    def close(self) -> None:
        pass


class AppendedFile:
    """The file that grows, and its successors."""

    def __init__(
        self,
        folder: Place,
        writer: str,
        durable: bool = True,
        largest: int = LARGEST_FILE,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder, self.writer, self._durable = folder, writer, durable
        self._largest, self._clock = largest, clock
        self._file: int | None = None
        self._hour, self._bytes, self._latest = "", 0, 0

    def append(self, lines: bytes) -> None:
        now = self._clock()
        if self._file is not None and (self._bytes >= self._largest or self._hour != hour_of(now)):
            self.close()
        if self._file is None:
            self._open(now)
        try:
            self._write(lines)
        except OSError:
            # A part of a line may be there. It stays the end of its file, where a reader passes it over.
            self.close()
            raise

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if self._durable:
            os.fsync(self._file)
        self._bytes += len(lines)

    def _open(self, now: int) -> None:
        now = self._latest = max(now, self._latest + 1)
        self._hour, self._bytes = hour_of(now), 0
        folder = (self._folder / self._hour).make_folder()
        path = (folder / file_name(now, self.writer)).path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        if self._durable:
            for parent in (folder, self._folder, self._folder.parent):
                _sync_folder(parent.path)


def _sync_folder(path: str) -> None:
    """Make the entry of a new file durable: without it a power cut may lose the file, though not its content."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
