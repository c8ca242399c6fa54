"""Processes of one driver's Ray: another one may run beside it."""

from contextlib import suppress

import psutil

from app.cluster import DRIVER

ENGINE = "VLLM::EngineCore"
ACTOR = "ray::MapWorker(MapBatches(Engine))"


def found(title: str, driver: int) -> list[int]:
    """The processes whose command begins with `title`."""
    pids = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if command.startswith(title) and process.environ().get(DRIVER) == str(driver):
                pids.append(process.pid)
    return pids
