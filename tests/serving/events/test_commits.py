"""Group commit: order, one write for what waits, a full queue, and a log that cannot be written."""

import threading

import pytest

from longtail.serving.events.commits import Commits, LogFull


class Slow:
    """A log whose writes wait until the test lets them go on."""

    writer = "aaaaaaaa"

    def __init__(self) -> None:
        self.wrote: list[bytes] = []
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.error: OSError | None = None

    def append(self, lines: bytes) -> None:
        self.begun.release()
        self.go_on.acquire()
        if self.error is not None:
            raise self.error
        self.wrote.append(lines)

    def close(self) -> None:
        self.wrote.append(b"closed")


def test_what_comes_during_a_write_is_written_together() -> None:
    slow = Slow()
    commits, after = Commits(slow), []
    first = commits.add(b"1\n", then=lambda: after.append((1, list(slow.wrote))))
    slow.begun.acquire()
    others = [commits.add(b"%d\n" % n, then=lambda n=n: after.append((n, list(slow.wrote)))) for n in (2, 3)]
    assert not first.done() and not after
    slow.go_on.release(2)
    for write in (first, *others):
        write.result(timeout=10)
    assert slow.wrote == [b"1\n", b"2\n3\n"]
    assert after == [(1, [b"1\n"]), (2, [b"1\n", b"2\n3\n"]), (3, [b"1\n", b"2\n3\n"])]


def test_closing_writes_what_waits_and_takes_no_more() -> None:
    slow = Slow()
    commits = Commits(slow)
    writes = [commits.add(b"%d\n" % n) for n in range(3)]
    slow.go_on.release(10)
    commits.close()
    assert all(write.done() for write in writes)
    assert b"".join(slow.wrote) == b"0\n1\n2\nclosed"
    with pytest.raises(LogFull):
        commits.add(b"4\n")


def test_too_much_that_waits_is_refused_and_there_is_room_again_later() -> None:
    slow = Slow()
    commits = Commits(slow, most_waiting=4)
    commits.add(b"1\n")
    slow.begun.acquire()
    commits.add(b"22\n")
    with pytest.raises(LogFull):
        commits.add(b"3\n")
    slow.go_on.release(3)
    slow.begun.acquire()
    commits.add(b"333\n").result(timeout=10)
    assert slow.wrote == [b"1\n", b"22\n", b"333\n"]


def test_who_waits_for_a_write_that_fails_is_told_and_the_next_one_is_written() -> None:
    slow = Slow()
    commits, after = Commits(slow), []
    slow.error = OSError(28, "No space left on device")
    failed = commits.add(b"1\n", then=lambda: after.append(1))
    slow.go_on.release()
    with pytest.raises(OSError, match="No space left"):
        failed.result(timeout=10)
    slow.error = None
    slow.go_on.release()
    commits.add(b"2\n").result(timeout=10)
    assert slow.wrote == [b"2\n"] and not after


def test_a_client_who_leaves_does_not_take_back_what_was_told() -> None:
    slow = Slow()
    commits = Commits(slow)
    write = commits.add(b"1\n")
    assert not write.cancel()
    slow.go_on.release()
    write.result(timeout=10)
