"""Starting Ray on this machine or joining a cluster: with a second attempt, and safe from other Rays and old engines."""

import json
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
"""How many attempts are made to start or join Ray."""

PORT = "RAY_GCS_SERVER_PORT"
ROOT = Path(__file__).resolve().parents[2]


def join(own: dict[str, Any], environment: dict[str, str]) -> None:
    """Start Ray with the arguments `own`, or join the cluster at RAY_ADDRESS if there are none.

    environment: variables of all workers. Raises EngineError if the second attempt fails too.
    """
    import ray

    _log_as_ours()
    if not own:
        # By default Ray tries to connect twenty times for 40 s each, a quarter of an hour.
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
        except Exception as error:  # Ray also raises plain exceptions
            ray.shutdown()
            found = _brief(str(error)) or type(error).__name__
            if attempt < STARTS:
                log.warning("could not %s (%s); trying once more", wanted, found)
    look = (
        f"longtail doctor names what this machine lacks, Ray's logs are in {ray_logs()}"
        if own
        else "ray status says whether Ray is up, its logs are on the head node in /tmp/ray/session_latest/logs"
    )
    raise EngineError(f"could not {wanted}, {STARTS} times: {found}. Where to look: {look}.")


def _brief(text: str, length: int = 300) -> str:
    """The text in one line. A long one loses its middle: the start says what failed, the end why."""
    text = " ".join(text.split())
    return text if len(text) <= 2 * length else f"{text[:length]} [...] {text[-length:]}"


def _log_as_ours() -> None:
    """Log Ray's warnings as our own lines, except one that a machine with a token gets at every start."""
    ray = logging.getLogger("ray")
    ray.setLevel(logging.WARNING)
    if log.handlers:
        ray.handlers.clear()
        ray.parent, ray.propagate = log, True
    tokens = logging.getLogger("ray._private.authentication.authentication_token_setup")
    tokens.addFilter(lambda record: not record.getMessage().startswith("Token authentication is enabled"))


def _job() -> Any:
    """The job configuration of this driver.

    By default Ray puts the folder of the script and the working folder first on the Python path of every worker. A task
    would then import a file `app.py` or `torch.py` there instead of the module that it needs. So workers get only the
    folder of this package, if it is not installed.
    """
    from ray.job_config import JobConfig

    class Job(JobConfig):
        def _serialize(self) -> bytes:
            installed = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
            self._py_driver_sys_path = [] if str(ROOT) in installed else [str(ROOT)]
            return super()._serialize()

        def _get_proto_job_config(self) -> Any:
            config = super()._get_proto_job_config()
            ours = config.runtime_env_info
            # Ray gives a worker only tasks whose environment is the same text as its own. The text of a task with a
            # variable of its own, such as those of a shuffle, has no blanks, that of a job has some.
            if ours.serialized_runtime_env:
                ours.serialized_runtime_env = json.dumps(
                    json.loads(ours.serialized_runtime_env), sort_keys=True, separators=(",", ":")
                )
            return config

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
    """Disconnect from a Ray that the block connected to, at its end, while what Ray prints still goes to our log."""
    before = ray_is_here()
    try:
        yield
    finally:
        if ray_is_here() and not before:
            import ray

            ray.shutdown()


def ray_is_here() -> bool:
    """Whether Ray is connected. Ray is not imported for this, because that takes seconds."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def end_orphans(driver_variable: str) -> None:
    """End the engines of a killed run. Its Ray ends with it, but processes of vLLM may go on and hold memory.

    driver_variable: the variable in their environment with the process id of the run.
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
    """Choose the port of the Ray that starts in the block, and give its address for the environment of the workers.

    Without it, workers ask the last Ray that `ray start` started here, even a dead one, about their actors. Ray Train then
    believes that its controller is dead, or waits at the end of a training until a question times out.
    """
    chosen = PORT not in os.environ
    port = os.environ.setdefault(PORT, str(free_port()))
    try:
        yield {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        if chosen:
            del os.environ[PORT]  # or a Ray in a child process would use the same port


def free_port() -> int:
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]
