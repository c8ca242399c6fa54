"""Two commands on one workspace: the second is started after every file that the first one writes.

The first is a whole run on a real Ray. It is stopped (SIGSTOP) at each change of the workspace while the second one works.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest

from longtail.workspace.lease import FOLDER
from longtail.workspace.swap import DRAFT, MANIFEST, OLD
from tests.stack.processes import CAPTURED, COMMAND, found, longtail

pytestmark = pytest.mark.faults
INTERLEAVINGS = 200
RECIPE = """\
name: two
dataset: {simulation: {users: 60, items: 40, tastes: 4, mean_history: 6}}
augment: []
variants: [observed]
recommenders: {popularity: {}, itemcf: {}, bpr: {epochs: 2, dim: 4}}
evaluation: {bootstrap: 20, protocol: train-only}
serving: {recommender: itemcf, variant: observed}
"""
CHANGED = ["--set", "seed=8"]
SECOND = (
    ["prepare", "{recipe}", *CHANGED],
    ["report", "{recipe}"],
    ["status", "{workspace}"],
    ["run", "{recipe}", *CHANGED],
    # The port is in use: a command that can serve would not end.
    ["serve", "{recipe}", "--port", "{port}"],
    ["run", "{other}"],
    ["train", "{recipe}"],
    ["tune", "{recipe}", *CHANGED],
    ["evaluate", "{recipe}"],
)
"""Whether a command is refused or reads depends on how far the first one has come."""


class Second:
    """Commands in forks of one process; see `second_command`."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-m", "tests.stack.second_command"], **pipes)
        assert self.process.stdout.readline() == "ready\n"

    def __call__(self, *arguments: str) -> tuple[int, str]:
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        code, said = json.loads(self.process.stdout.readline())
        return code, " ".join(said.split())


@pytest.fixture(scope="module")
def second() -> Iterator[Second]:
    started = Second()
    yield started
    started.process.kill()


@pytest.fixture(scope="module")
def alone(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of a run that is not disturbed."""
    workspace = tmp_path_factory.mktemp("alone") / "run"
    longtail("run", recipe_file, "-w", workspace)
    return rows(workspace)


def rows(workspace: Path) -> list[dict[str, Any]]:
    return json.loads((workspace / "report/metrics.json").read_text())["rows"]


class First:
    """A run that can be stopped with all of its child processes."""

    def __init__(self, recipe: Path, workspace: Path) -> None:
        arguments = [*COMMAND, "run", str(recipe), "-w", str(workspace)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(arguments, start_new_session=True, **quiet)
        self.workspace, self.known = workspace, frozenset()
        self.stopped: list[int] = []

    def next_change(self) -> bool:
        """Continue until a file is added or removed, and stop there. Returns False if the run has ended.

        A run without its claim has also ended, because from then on other commands may write.
        """
        _signal(self.stopped, signal.SIGCONT)
        while self.process.poll() is None:
            if files(self.workspace) != self.known:
                self._stop()
                claimed, self.known = _claims(self.known), files(self.workspace)
                if claimed and not _claims(self.known):
                    _signal(self.stopped, signal.SIGCONT)
                    return False
                return True
            time.sleep(0.002)  # polling without a pause would take a core from the run
        return False

    def __enter__(self) -> "First":
        return self

    def __exit__(self, *fault: object) -> None:
        """Also after an error: stopped processes would stay for ever."""
        self.kill()

    def kill(self) -> None:
        _signal([*self._processes(), *found("", self.process.pid)], signal.SIGKILL)
        self.process.wait()

    def _stop(self) -> None:
        """Stop all processes, also those that were started while the others were being stopped."""
        self.stopped = []
        while new := [process for process in self._processes() if process not in self.stopped]:
            _signal(new, signal.SIGSTOP)
            _wait_until_stopped(new)
            self.stopped += new

    def _processes(self) -> list[int]:
        """The run and all of its children; none if it has ended."""
        while self.process.poll() is None:
            with suppress(psutil.Error):  # a child ended while they were being listed: list them again
                own = psutil.Process(self.process.pid)
                return [own.pid, *(child.pid for child in own.children(recursive=True))]
        return []


def _signal(processes: list[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _wait_until_stopped(processes: list[int]) -> None:
    """A thread that is in the middle of a system call ends it first, and that may be the one that publishes."""
    for process in processes:
        for thread in Path(f"/proc/{process}/task").glob("*/stat"):
            with suppress(OSError):
                while thread.read_text().rpartition(")")[2].split()[0] not in "TtXZ":
                    time.sleep(0.002)


def files(workspace: Path) -> frozenset[str]:
    names = set()
    for folder, _, here in os.walk(workspace):
        names |= {os.path.join(folder, name) for name in here}
    return frozenset(names)


def _claims(names: frozenset[str]) -> list[str]:
    return [
        name for name in names if Path(name).parent.name == FOLDER and not Path(name).name.startswith(".")
    ]


def require_whole(workspace: Path) -> None:
    """Every published place has every file that its manifest names, with the size that it gives."""
    for manifest in workspace.rglob(MANIFEST):
        if any(part.startswith((DRAFT, OLD)) for part in manifest.parts):
            continue
        for name, size in json.loads(manifest.read_text())["files"].items():
            assert (manifest.parent / name).stat().st_size == size, f"{manifest.parent}: {name}"


def test_a_second_command_harms_nothing(
    second: Second, alone: list[dict[str, Any]], recipe_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(RECIPE.replace("name: two", "name: other"))
    commands, said = cycle(SECOND), Counter()
    taken = socket.create_server(("127.0.0.1", 0))
    while said.total() < INTERLEAVINGS:
        workspace = tmp_path / f"run-{said.total()}"
        named = {
            "recipe": recipe_file,
            "other": other,
            "workspace": workspace,
            "port": taken.getsockname()[1],
        }
        with First(recipe_file, workspace) as first:
            while first.next_change():
                name, *rest = next(commands)
                place = [] if name == "status" else ["-w", str(workspace)]
                code, words = second(name, *(word.format(**named) for word in rest), *place)
                assert files(workspace) == first.known, f"{name} wrote or removed something"
                require_whole(workspace)
                kind = judged(name, code, words, first.process.pid)
                assert kind, f"{name}: exit {code}: {words}"
                if {*CHANGED} <= {*rest}:  # it would make something anew, so it always meets the lease
                    assert kind == "refused by name", f"{name}: exit {code}: {words}"
                said[f"{name}: {kind}"] += 1
            assert first.process.wait() == 0, first.process.stderr.read()[-3000:]
        require_whole(workspace)
        assert rows(workspace) == alone
        assert not [name for name in files(workspace) if DRAFT in name or OLD in name]
    taken.close()


def judged(name: str, code: int, words: str, writer: int) -> str | None:
    """A label for the result of the second command; None if the result is not allowed for it in this state."""
    if code == 2 and f"(process {writer}) has been writing here for" in words:
        return "refused by name" if name not in ("status", "serve") else None
    if code == 2 and "holds the run of recipe 'two', this is 'other'" in words:
        return "another recipe"
    if code == 2 and "is missing. Run the stage that makes it" in words:
        return "not there yet" if name in ("report", "serve", "train", "evaluate") else None
    if code == 2 and name == "serve" and "--port" in words:
        return "ready to serve"
    if code == 2 and name in ("status", "serve") and "no " in words:
        return "nothing there yet"
    if code == 0 and name in ("status", "report", "train", "evaluate", "prepare"):
        return "read"
    return None


@pytest.mark.parametrize("after", [3, 14, 30])
def test_a_run_that_was_killed_is_taken_over_and_finished(
    alone: list[dict[str, Any]], recipe_file: Path, tmp_path: Path, after: int
) -> None:
    with First(recipe_file, tmp_path / "run") as first:
        for _ in range(after):
            assert first.next_change()
    next_one = subprocess.run([*COMMAND, "run", recipe_file, "-w", tmp_path / "run"], check=False, **CAPTURED)
    assert next_one.returncode == 0, next_one.stderr[-3000:]
    require_whole(tmp_path / "run")
    assert rows(tmp_path / "run") == alone
    assert not [name for name in files(tmp_path / "run") if DRAFT in name or OLD in name]
