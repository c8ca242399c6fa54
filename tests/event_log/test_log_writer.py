"""Appending: what `append` has returned for is there, whatever happens to the process afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from pyarrow.fs import FSSpecHandler, PyFileSystem

from longtail.event_log.log_files import log_files
from longtail.event_log.log_writer import AppendedFile, Objects, log_writer
from longtail.workspace.place import Place

HOUR = 3_600 * 1_000_000_000
NOON = 1_796_040_000 * 1_000_000_000  # 2026-11-30 12:00 in UTC


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def local(folder: Path) -> Place:
    return Place(pafs.LocalFileSystem(), str(folder))


def bucket() -> Place:
    from fsspec.implementations.memory import MemoryFileSystem

    class Bucket(MemoryFileSystem):
        store, pseudo_dirs, cachable = {}, [""], False

    return Place(PyFileSystem(FSSpecHandler(Bucket())), "bucket/log", "s3://")


def content(folder: Place) -> list[bytes]:
    return [file.place.read_bytes() for file in log_files(folder)]


def test_lines_are_appended_to_one_file_named_by_hour_time_and_writer(tmp_path: Path) -> None:
    writer = AppendedFile(local(tmp_path), "0a1b2c3d", clock=Clock())
    for lines in (b"1\n", b"2\n3\n"):
        writer.append(lines)
    (file,) = log_files(local(tmp_path))
    assert file.place.path == f"{tmp_path}/2026-11-30T12/{NOON:020d}-0a1b2c3d.jsonl"
    assert (file.hour, file.begun, file.writer, file.bytes) == ("2026-11-30T12", NOON, "0a1b2c3d", 6)
    assert file.place.read_bytes() == b"1\n2\n3\n"


def test_a_new_file_begins_when_one_is_full_and_with_every_hour(tmp_path: Path) -> None:
    clock = Clock()
    writer = AppendedFile(local(tmp_path), "0a1b2c3d", largest=4, clock=clock)
    for lines in (b"1\n", b"2\n", b"3\n"):
        writer.append(lines)  # the clock stands still: names are different all the same
    clock.now += HOUR
    writer.append(b"4\n")
    assert content(local(tmp_path)) == [b"1\n2\n", b"3\n", b"4\n"]
    assert [file.hour[-2:] for file in log_files(local(tmp_path))] == ["12", "12", "13"]


def test_after_a_write_that_failed_a_new_file_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line can only be the end of a file, so no later line is joined to it."""
    writer = AppendedFile(local(tmp_path), "0a1b2c3d", clock=Clock())
    writer.append(b"1\n")
    real = os.write

    def full(file: int, lines: bytes) -> int:
        if len(lines) == 5:
            return real(file, bytes(lines[:2]))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            writer.append(b"2222\n")
    writer.append(b"3\n")
    assert content(local(tmp_path)) == [b"1\n22", b"3\n"]


def test_a_bucket_gets_one_object_per_append() -> None:
    place = bucket()
    writer = Objects(place, "0a1b2c3d", clock=Clock())
    for lines in (b"1\n", b"2\n3\n"):
        writer.append(lines)
    assert content(place) == [b"1\n", b"2\n3\n"]
    assert isinstance(log_writer(place), Objects)


def test_two_writers_never_share_a_file(tmp_path: Path) -> None:
    for writer in (log_writer(local(tmp_path)), log_writer(local(tmp_path), durable=False)):
        writer.append(b"1\n")
    assert content(local(tmp_path)) == [b"1\n", b"1\n"]


def test_what_was_appended_survives_a_killed_process(tmp_path: Path) -> None:
    """The process says a line when `append` has returned for it. It is killed in the middle of its work."""
    code = (
        "import sys; from longtail.event_log.log_writer import log_writer; from longtail.workspace.place import Place\n"
        "writer = log_writer(Place.named(sys.argv[1], 'log'))\n"
        "for n in range(1 << 20):\n"
        "    writer.append(b'%d\\n' % n); print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        said = [process.stdout.readline() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    whole = [line for line in said if line.endswith(b"\n")]
    assert len(whole) >= 50
    assert b"".join(content(local(tmp_path))).startswith(b"".join(whole))


def test_other_files_in_the_folder_are_no_log(tmp_path: Path) -> None:
    AppendedFile(local(tmp_path), "0a1b2c3d", clock=Clock()).append(b"1\n")
    (tmp_path / "2026-11-30T12" / "notes.jsonl").write_text("x")
    (tmp_path / "items.parquet").write_text("x")
    assert content(local(tmp_path)) == [b"1\n"]
    assert log_files(local(tmp_path / "nothing")) == []
