"""Captures what libraries write to standard error and standard output, and logs it through our logger."""

import faulthandler
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import TextIOBase
from typing import TextIO

END = b"\0longtail: end\0\n"
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""Terminal codes for colours and for moving the cursor."""

RAY_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \S+ (?P<level>[A-Z]) \d+ \d+\] (?P<said>.+)")
RAY_LEVELS = {"W": logging.WARNING, "E": logging.ERROR, "C": logging.ERROR, "F": logging.ERROR}


def plain(text: str) -> str:
    return CODES.sub("", text)


@contextmanager
def standard_error() -> Iterator[TextIO]:
    """A stream to standard error that stays there while its file descriptor is captured."""
    if not _has_descriptor():
        yield sys.stderr
        return
    # Not inherited: a Ray that outlives us must not hold the user's pipe open.
    with os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace") as stream:
        yield stream


@contextmanager
def captured() -> Iterator[None]:
    """During the block, each line written to standard error or standard output becomes a log record of `longtail`.

    Standard error is captured for Python, C++ and child processes, standard output for Python only.
    """
    with _captured_descriptor() if _has_descriptor() else nullcontext(), redirect_stdout(_Writer()):
        yield


def _has_descriptor() -> bool:
    """Whether standard error is file descriptor 2. It is not in tests that call the command in their own process."""
    try:
        return sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        return False


@contextmanager
def _captured_descriptor() -> Iterator[None]:
    sys.stderr.flush()
    real = os.dup(2)
    inside, outside = os.pipe()
    reader = threading.Thread(target=_read, args=(inside,), daemon=True)
    reader.start()
    os.dup2(outside, 2)
    os.close(outside)
    faulthandler.enable(real)  # a process that crashes has no thread left to read the pipe
    try:
        yield
    finally:
        sys.stderr.flush()
        # Child processes may hold the pipe open, so the reader needs a mark at the end.
        os.write(2, b"\n" + END)
        reader.join()
        faulthandler.disable()
        os.dup2(real, 2)
        os.close(real)


def _read(source: int) -> None:
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if line == END:
                return
            _say("stderr", line.decode(errors="replace"))


class _Writer(TextIOBase):
    def __init__(self) -> None:
        self.rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            _say("stdout", line)
        return len(text)


def _say(source: str, line: str) -> None:
    """Log a line. A progress bar that redraws itself is logged in its last state. Ray's C++ lines keep their level."""
    if not (line := plain(line.rstrip().rpartition("\r")[2]).strip()):
        return
    level = logging.INFO
    if of_ray := RAY_LINE.match(line):
        level, line = RAY_LEVELS.get(of_ray["level"], logging.INFO), f"ray: {of_ray['said']}"
    logging.getLogger(f"longtail.{source}").log(level, "%s", line)
