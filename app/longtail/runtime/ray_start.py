"""Starting a Ray of our own or joining one, with a second attempt, and without what would get into its way."""

import logging
import os
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from longtail.errors import EngineError

log = logging.getLogger("longtail")

STARTS = 2
"""Ray is started, or asked for, this often before it is said that it cannot be had."""

PORT = "RAY_GCS_SERVER_PORT"
ROOT = Path(__file__).resolve().parents[2]


def join(own: dict[str, Any], environment: dict[str, str]) -> None:
    """Start Ray with what it is to `own`, or join the cluster that is there if that is nothing; again after a fault."""
    import ray

    _speak_through_us()
    if not own:
        # Ray would ask twenty times for 40 s each, a quarter of an hour, whether somebody is there.
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    wanted = (
        "start Ray on this machine" if own else f"join the Ray at RAY_ADDRESS={os.environ['RAY_ADDRESS']}"
    )
    for attempt in range(1, STARTS + 1):
        try:
            with own_address() if own else nullcontext({}) as address:
                ray.init(
                    **own,
                    job_config=_job(),
                    runtime_env={"env_vars": environment | address},
                    include_dashboard=False if own else None,
                    log_to_driver=bool(os.environ.get("LONGTAIL_WORKER_LOGS")),
                    configure_logging=False,
                )
            return
        except Exception as error:  # Ray raises bare ones too
            ray.shutdown()
            found = _brief(str(error)) or type(error).__name__
            if attempt < STARTS:
                log.warning("could not %s (%s); trying once more", wanted, found)
    look = (
        f"longtail doctor names what this machine lacks, Ray's logs are in {ray_logs()}"
        if own
        else "ray status says whether it is up, its logs are on its head node in /tmp/ray/session_latest/logs"
    )
    raise EngineError(f"could not {wanted}, {STARTS} times: {found}. Where to look: {look}.")


def _brief(text: str, length: int = 300) -> str:
    """On one line, without the middle if it is long: what it is about comes first, Ray's reason last."""
    text = " ".join(text.split())
    return text if len(text) <= 2 * length else f"{text[:length]} [...] {text[-length:]}"


def _speak_through_us() -> None:
    """Let Ray's warnings come out as our own lines do, but for one that a machine with a token meets at every start."""
    ray = logging.getLogger("ray")
    ray.setLevel(logging.WARNING)
    if log.handlers:
        ray.handlers.clear()
        ray.parent, ray.propagate = log, True
    tokens = logging.getLogger("ray._private.authentication.authentication_token_setup")
    tokens.addFilter(lambda record: not record.getMessage().startswith("Token authentication is enabled"))


def _job() -> Any:
    """What Ray is told of this driver.

    Ray would put the folder of the script and the working folder first on the path of every worker, and a file `app.py` or
    `torch.py` there would be taken for the module that a task needs. Workers get the package instead, if it is no
    installed one.
    """
    from ray.job_config import JobConfig

    class Job(JobConfig):
        def _serialize(self) -> bytes:
            installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
            self._py_driver_sys_path = [] if str(ROOT) in installed else [str(ROOT)]
            return super()._serialize()

    return Job()


def ray_logs() -> str:
    """The folder of the logs of the Ray that this process last joined or tried to start."""
    import ray

    node = ray._private.worker.global_worker.node
    if node is not None:
        return node.get_logs_dir_path()
    return f"{os.environ.get('RAY_TMPDIR', tempfile.gettempdir())}/ray/session_latest/logs"


@contextmanager
def ray_ended() -> Iterator[None]:
    """A Ray that was joined within is left at the end, while what it says still comes out as our lines do."""
    before = ray_is_here()
    try:
        yield
    finally:
        if ray_is_here() and not before:
            import ray

            ray.shutdown()


def ray_is_here() -> bool:
    """Whether Ray is joined; it is not imported for that, which takes seconds."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def end_orphans(driver_variable: str) -> None:
    """End engines of a run that was killed: its Ray dies with it, but vLLM's processes may live on and hold memory.

    driver_variable: where their environment names the process of that run.
    """
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            driver = process.environ().get(driver_variable, "") if process.ppid() == 1 else ""
            if driver and not psutil.pid_exists(int(driver)):
                log.warning("ending %s (process %d), left over by a killed run", process.name(), process.pid)
                for one in [*process.children(recursive=True), process]:
                    one.kill()


@contextmanager
def own_address() -> Iterator[dict[str, str]]:
    """Choose the port of the Ray that is about to start, for its workers' environment to name it.

    They would ask the last `ray start` of the machine, alive or dead, about their own actors (trap of Ray Train: whose
    controller is not known there is taken for dead, or the end of a training waits for a question that times out).
    """
    chosen = PORT not in os.environ
    port = os.environ.setdefault(PORT, str(free_port()))
    try:
        yield {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        if chosen:
            del os.environ[PORT]  # else a Ray of a process that this one starts would want it too


def free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]
