"""Processes of one driver's Ray, and waiting for the moment to kill them: another Ray may run beside it."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from app.cluster import DRIVER

ENGINE = "VLLM::EngineCore"
ACTOR = "ray::MapWorker(MapBatches(Engine))"
TRAINER = "ray::RayTrainW"
PATIENCE = 1500
"""Seconds; a machine may be slow."""


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
