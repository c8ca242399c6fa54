"""Connecting to Ray, a given cluster or a new one on this machine, and helpers for work that runs there."""

import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from longtail.progress import progress, tell
from longtail.recipe import Resources
from longtail.runtime.ray_start import end_orphans, free_port, join

LOGICAL_CPUS = 8
"""A Ray on this machine gets at least this many logical CPUs. Engines, trainers and data tasks share the real cores.
With only two, a trainer would wait for data whose tasks get no CPU."""

ENGINE_STARTS = 2
"""If an engine is killed or loses its node while it starts, it is started again, up to this often in a row."""

DRIVER = "LONGTAIL_DRIVER"
"""Environment variable of every worker and its child processes: the process id of the driver."""

BUILDS = "TORCH_EXTENSIONS_DIR"

SERVE_ENVIRONMENT = {
    # What Ray Serve puts around its HTTP servers.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "longtail.serving.edge.front.front",
    # An answer takes half a millisecond, and what takes longer runs in threads of its own. If the application had a thread
    # beside Serve's, both would wait for the interpreter in turns.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""What Ray Serve reads in its processes. Every node of a cluster that serves has it in its environment."""

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_TRAIN_V2_ENABLED": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
} | SERVE_ENVIRONMENT
ENGINE_APART = "VLLM_ENABLE_V1_MULTIPROCESSING"
CPU_ENVIRONMENT = {
    # The engine runs in its actor: a process of its own answers no faster, and starts in 24 s instead of 13.
    ENGINE_APART: "0",
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; counts against RAM
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # binding fails in containers
    "CUDA_VISIBLE_DEVICES": "",
}
ONE_KIND_OF_WORKER = {"RAY_DATA_SHUFFLE_MAP_WORKER": "1", "RAY_DATA_SHUFFLE_REDUCE_WORKER": "1"}
"""Ray Data sets these for the tasks of a shuffle, so that they get worker processes of their own, whose memory can be told
apart. On one machine, where the start of a worker costs seconds, every worker has them, and the shuffle uses those that
are there."""

FEWER_STARTS = {
    "RAY_enable_worker_prestart": "0",  # those workers lack our environment, so that no task could use them
    "RAY_prestart_worker_first_driver": "0",
}
"""Settings of a Ray that starts here."""


def connect(resources: Resources) -> None:
    """Join the cluster that RAY_ADDRESS names (Ray sets it in a submitted job). If it is not set, start Ray here.

    Does nothing if Ray is already connected. Raises EngineError if Ray does not start or answer in two attempts.
    """
    import ray
    import ray.data

    if ray.is_initialized():
        return
    environment = worker_environment(resources) | {DRIVER: str(os.getpid())}
    # Two Python environments with one folder for the extensions of DeepSpeed would rebuild them again and again.
    environment |= {BUILDS: os.environ.get(BUILDS, f"{sys.prefix}/torch_extensions")}
    # `local` starts a new Ray even if the Ray of another run, or of a killed one, is still up.
    cpus = max(LOGICAL_CPUS, os.cpu_count() or 1)
    own = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": cpus}
    if own:
        environment |= ONE_KIND_OF_WORKER
        for name, value in FEWER_STARTS.items():
            os.environ.setdefault(name, value)
        # This Ray has no dashboard. At the usual port its workers would find the dashboard of another Ray.
        own["dashboard_port"] = free_port()
        end_orphans(DRIVER)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(LOGICAL_CPUS))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", WORKER_ENVIRONMENT["VLLM_LOGGING_LEVEL"])
    # DeepSpeed looks for ninja on the PATH. It is not there if the command was called by its full path.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    join(own, environment)
    for name in ("ray.llm", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # An exception of a task is raised here too. Ray Data would first report it as its own bug, in a hundred lines.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = (
        True  # without it an InputError of a task arrives here as text only
    )
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = -1
    context.max_consecutive_actor_init_deaths = ENGINE_STARTS  # by default the first loss ends the run
    context.use_datasource_v2 = False  # the new Parquet reader takes seconds for four small files


def worker_environment(resources: Resources) -> dict[str, str]:
    """The environment variables of processes that run an LLM, train one, or rank."""
    return WORKER_ENVIRONMENT | (CPU_ENVIRONMENT if resources.accelerator == "cpu" else {})


def side_by_side(calls: Iterable[Callable[[], None]], at_once: int, about: str = "", unit: str = "") -> None:
    """Make calls that wait for Ray, `at_once` at a time. After an exception or Ctrl-C no further call begins.

    about: if given, progress is logged under this name after each call, counted in `unit`.
    """
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        waiting = [pool.submit(call) for call in calls]
        try:
            for done, finished in enumerate(as_completed(waiting), start=1):
                finished.result()
                if about:
                    tell(progress(about, done, len(waiting), unit, time.monotonic() - began))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def added_up(counted: Any) -> Counter[str]:
    """The sum of each column of a Ray Dataset of numbers. Rows are added as they arrive, so the driver holds few.

    Not `Dataset.sum`, which shuffles: it took 1.7 to 3.1 times as long with 64 blocks of 17 columns.
    """
    totals: Counter[str] = Counter()
    for batch in counted.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
        for row in batch.to_pylist():
            totals.update(row)
    return totals


@contextmanager
def relay() -> Iterator[Callable[[str], None]]:
    """A function to pass to workers on any node. The lines that they call it with are logged in this process."""
    import ray
    from ray.util.queue import Empty, Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # The queue runs on the node of the driver, because another node may be lost.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    done = threading.Event()

    def listen() -> None:
        while True:
            try:
                tell(queue.get(timeout=1))
            except Empty:
                if done.is_set():
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield queue.put
    finally:
        done.set()
        listener.join()
        queue.shutdown(force=True)


@lru_cache(maxsize=16)
def fetch(reference: Any) -> Any:
    """The object of a Ray reference, read once per process, so that all rows share a catalogue, tokenizer or matrix."""
    import ray

    return ray.get(reference)
