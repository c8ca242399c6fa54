"""Runs as processes of their own, to be killed in the middle, and the processes of one run's Ray: another may run beside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from app.cluster import DRIVER

COMMAND = [str(Path(sys.executable).with_name("longtail"))]
ENGINE = "VLLM::EngineCore"
ACTOR = "ray::MapWorker(MapBatches(Engine))"
TRAINER = "ray::RayTrainW"
PATIENCE = 1500
"""Seconds; a machine may be slow."""


def longtail(*arguments: object) -> str:
    """Run the command; all that it said, or a failure that shows it."""
    command = [*COMMAND, *map(str, arguments)]
    return _said(
        subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, start_new_session=True)
    )


def kill_longtail(happened: Callable[[], object], *arguments: object) -> int:
    """Begin the command and kill it by SIGKILL once something `happened`; the process that it was."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    victim = subprocess.Popen([*COMMAND, *map(str, arguments)], **quiet)
    wait_for(happened, lambda: victim.poll() is None)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    return victim.pid


def run_alone(module: str, *arguments: object) -> str:
    """A module that starts clusters, where no other Ray is known; all that it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return _said(
        subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=environment | {"RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
        )
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr


def wait_for(happened: Callable[[], object], alive: Callable[[], object]) -> None:
    """Until something has happened in a run; fails where the run is not `alive` any more."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert alive() and time.monotonic() < deadline, "the run ended before it could be disturbed"
        time.sleep(0.02)


def found(title: str, driver: int) -> list[int]:
    """The processes whose command begins with `title`, which may be empty."""
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if command.startswith(title) and process.environ().get(DRIVER) == str(driver):
                pids.append(process.pid)
    return pids
