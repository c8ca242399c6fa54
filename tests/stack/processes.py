"""Starts runs as processes that can be killed, and finds the processes of one run's Ray. Other Rays may run too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from longtail.runtime.cluster import DRIVER

COMMAND = [str(Path(sys.executable).with_name("longtail"))]
CAPTURED = {"capture_output": True, "text": True, "start_new_session": True}
ENGINE = "VLLM::EngineCore"
ACTOR = "ray::MapWorker(MapBatches(Engine))"
TRAINER = "ray::RayTrainW"


def longtail(*arguments: object, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    """Run the command; it must succeed. A failure shows its output."""
    return _ended(subprocess.run([*COMMAND, *map(str, arguments)], timeout=timeout, **CAPTURED))


def kill_longtail(happened: Callable[[], object], *arguments: object, timeout: float = 900) -> int:
    """Start the command and kill it by SIGKILL after something `happened`. Returns its process id."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    victim = subprocess.Popen([*COMMAND, *map(str, arguments)], **quiet)
    wait_for(happened, lambda: victim.poll() is None, timeout)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    return victim.pid


def run_alone(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a module that starts clusters, without the address of any other Ray."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return _ended(subprocess.run(command, env=environment, timeout=1200, **CAPTURED))


def _ended(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def wait_for(happened: Callable[[], object], alive: Callable[[], object], timeout: float = 900) -> None:
    """Wait until something has happened in a run. Fails if the run is not `alive` any more."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert alive() and time.monotonic() < deadline, "the run ended before it could be disturbed"
        time.sleep(0.02)


def found(title: str, driver: int) -> list[int]:
    """The processes started by `driver` whose command begins with `title`; the list may be empty."""
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if command.startswith(title) and process.environ().get(DRIVER) == str(driver):
                pids.append(process.pid)
    return pids
