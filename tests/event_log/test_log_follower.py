"""Following a log: every whole line exactly once, in whatever pieces it is written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.event_log.log_follower import LogFollower
from longtail.event_log.log_writer import AppendedFile, Objects
from tests.event_log.test_log_writer import HOUR, Clock, bucket, local


def seen(lists: object) -> list[bytes]:
    return [text for lines in lists for text in lines]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.booleans()), max_size=15), st.booleans())
def test_two_writers_and_a_follower(
    tmp_path_factory: pytest.TempPathFactory, steps: list, objects: bool
) -> None:
    """Each step: one of two others writes some lines; the follower looks; perhaps time goes on by an hour."""
    place, clock = bucket() if objects else local(tmp_path_factory.mktemp("log")), Clock()
    kind = Objects if objects else AppendedFile
    writers = [kind(place, name, clock=clock) for name in ("aaaaaaaa", "bbbbbbbb")]
    own = kind(place, "cccccccc", clock=clock)
    follower = LogFollower(place, own="cccccccc", clock=clock)
    wrote, read = [], seen(follower.past())
    for number, (writer, many, late) in enumerate(steps):
        lines = [b"%d.%d" % (number, line) for line in range(many)]
        if lines:
            writers[writer].append(b"".join(text + b"\n" for text in lines))
            own.append(b"own\n")
        wrote += lines
        read += seen(follower.new())
        clock.now += HOUR * late
    assert sorted(read) == sorted(wrote)


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    clock = Clock()
    writer = AppendedFile(local(tmp_path), "aaaaaaaa", clock=clock)
    follower = LogFollower(local(tmp_path), clock=clock)
    writer.append(b"one\ntw")
    assert seen(follower.past()) == [b"one"]
    assert seen(follower.new()) == []
    writer.append(b"o\nthree")
    assert seen(follower.new()) == [b"two"]
    assert seen(follower.new()) == []


def test_the_past_is_read_backwards_and_only_as_far_as_wanted(tmp_path: Path) -> None:
    clock = Clock()
    writer = AppendedFile(local(tmp_path), "aaaaaaaa", clock=clock)
    for text in (b"1\n2\n", b"3\n", b"4\n"):
        clock.now += HOUR
        writer.append(text)
    follower = LogFollower(local(tmp_path), clock=clock)
    past = follower.past()
    assert next(past) == [b"4"]
    writer.append(b"5\n")
    assert seen(follower.new()) == [b"5"], "what was there when it began is not new, read or not"
    assert seen(LogFollower(local(tmp_path), clock=clock).past()) == [b"4", b"5", b"3", b"1", b"2"]


def test_a_file_that_was_there_but_not_read_goes_on_at_its_last_line(tmp_path: Path) -> None:
    clock = Clock()
    old = AppendedFile(local(tmp_path), "aaaaaaaa", clock=clock)
    old.append(b"old\nha")
    clock.now += 1
    AppendedFile(local(tmp_path), "bbbbbbbb", clock=clock).append(b"new\n")
    follower = LogFollower(local(tmp_path), clock=clock)
    assert next(follower.past()) == [b"new"]
    old.append(b"lf\n")
    assert seen(follower.new()) == [b"half"]


def test_much_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longtail.event_log.log_follower.READ_AT_ONCE", 10)
    follower = LogFollower(local(tmp_path), clock=Clock())
    AppendedFile(local(tmp_path), "aaaaaaaa", clock=Clock()).append(b"".join(b"%d\n" % n for n in range(50)))
    pieces = list(follower.new())
    assert seen(pieces) == [b"%d" % n for n in range(50)] and len(pieces) > 10
