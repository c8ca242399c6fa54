"""The lease: one writer at a time, told by name and age; a dead one's is taken over."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from longtail.errors import InputError
from longtail.workspace import Workspace, lease
from longtail.workspace.lease import DEAD_SECONDS, FOLDER, Owner, session

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, time
from longtail.workspace import Workspace
with Workspace(sys.argv[1]).writing():
    print("writing", flush=True)
    time.sleep(60)
"""
RACER = """
import os, sys, time
from longtail.errors import InputError
from longtail.workspace import Workspace
ws, taken = Workspace(sys.argv[1]), 0
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    try:
        with ws.writing():
            os.close(os.open(f"{ws}/writer", os.O_CREAT | os.O_EXCL))  # fails if somebody else is here
            time.sleep(0.002)
            os.unlink(f"{ws}/writer")
            taken += 1
    except InputError:
        pass
print(taken)
"""


def python(code: str, path: Path) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT / "app")}
    return subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, **pipes)


@pytest.fixture
def writer(tmp_path):
    process = python(WRITER, tmp_path)
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_writer_is_refused_with_the_first_ones_name_and_age(writer, tmp_path):
    with pytest.raises(
        InputError, match=rf"process {writer.pid}\) has been writing here for \d\.\d s\. Wait"
    ):
        Workspace(str(tmp_path)).stage("data", {}).publishing().__enter__()
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [
        file.name for file in (tmp_path / FOLDER).iterdir()
    ]
    assert len(list((tmp_path / FOLDER).iterdir())) == 1, "who was refused leaves nothing"


def test_a_writer_that_was_killed_is_taken_over_at_once(writer, tmp_path):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with Workspace(str(tmp_path)).writing():
        (claim,) = (tmp_path / FOLDER).iterdir()
        assert json.loads(claim.read_text())["pid"] == os.getpid()
    assert not list((tmp_path / FOLDER).iterdir())


def test_a_writer_that_is_stopped_lives(writer, tmp_path):
    """Ctrl-Z, a laptop that sleeps: on the same machine the process tells, not its silence."""
    writer.send_signal(signal.SIGSTOP)
    (claim,) = (tmp_path / FOLDER).iterdir()
    os.utime(claim, (0, 0))
    with pytest.raises(InputError, match="has been writing here"), Workspace(str(tmp_path)).writing():
        pass


@pytest.mark.parametrize(("silent", "lives"), [(DEAD_SECONDS - 20, True), (DEAD_SECONDS + 20, False)])
def test_of_a_writer_on_another_machine_the_silence_tells(tmp_path, silent, lives):
    other = replace(Owner.this_process(), process_space="another/machine", host="node-7", job="raysubmit_1")
    claim = tmp_path / FOLDER / f"{other.token}.json"
    claim.parent.mkdir()
    claim.write_text(json.dumps(asdict(other)))
    then = time.time() - silent
    os.utime(claim, (then, then))
    if lives:
        with pytest.raises(
            InputError, match=r"on node-7 \(process \d+, job raysubmit_1\) has been writing here"
        ):
            Workspace(str(tmp_path)).stage("data", {}).publishing().__enter__()
    else:
        with Workspace(str(tmp_path)).writing():
            assert not claim.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_claim_that_cannot_be_read_counts_until_it_is_old(tmp_path, text):
    claim = tmp_path / FOLDER / "x.json"
    claim.parent.mkdir()
    claim.write_text(text)
    with pytest.raises(InputError, match="another version"), Workspace(str(tmp_path)).writing():
        pass
    os.utime(claim, (0, 0))
    with Workspace(str(tmp_path)).writing():
        pass


def test_who_was_taken_for_dead_publishes_nothing_more(tmp_path):
    ws = Workspace(str(tmp_path))
    with pytest.raises(InputError, match="another one writes there now"):  # noqa: SIM117
        with ws.stage("data", {}).publishing() as draft:
            (draft / "file").write_bytes(b"x")
            (claim,) = (tmp_path / FOLDER).iterdir()
            claim.unlink()
    assert not (tmp_path / "data").exists()


def test_the_heartbeat_goes_on_and_never_makes_a_claim_again(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.05)
    with Workspace(str(tmp_path)).writing():
        (claim,) = (tmp_path / FOLDER).iterdir()
        os.utime(claim, (0, 0))
        deadline = time.monotonic() + 30
        while claim.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        claim.unlink()
        time.sleep(0.3)
        assert not claim.exists()


def test_in_a_session_the_lease_is_kept_between_stages(tmp_path):
    ws = Workspace(str(tmp_path))
    with session():
        ws.claim()
        for place in ("data", "fused/observed"):
            with ws.stage(place, {}).publishing():
                pass
            assert len(list((tmp_path / FOLDER).iterdir())) == 1
    assert not list((tmp_path / FOLDER).iterdir())


def test_many_who_begin_at_once_never_write_together(tmp_path):
    racers = [python(RACER, tmp_path) for _ in range(6)]
    for racer in racers:
        racer.stdout.readline()
    said = []
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        said.append(racer.communicate(timeout=120)[0])
        assert racer.returncode == 0
    assert sum(map(int, said)) > 0


def test_a_workspace_that_cannot_be_written_is_an_input_error():
    with pytest.raises(InputError, match="cannot be written"), Workspace("/proc/x").writing():
        pass
