"""Joining Ray: the cluster that is there, or one of our own on this machine."""

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
"""A laptop's Ray gets at least this many logical CPUs. Engines, trainers and data tasks take turns on the real cores;
with only two, a trainer would starve the data that it waits for."""

ENGINE_STARTS = 2
"""An engine that is killed or loses its node while it starts is started again, this often in a row."""

DRIVER = "LONGTAIL_DRIVER"
"""Environment variable of every worker and of what it starts: the process that all of it is for."""

BUILDS = "TORCH_EXTENSIONS_DIR"

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_TRAIN_V2_ENABLED": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
CPU_ENVIRONMENT = {
    "DS_ACCELERATOR": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; counts against RAM
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # binding fails in containers
    "CUDA_VISIBLE_DEVICES": "",
}


def connect(resources: Resources) -> None:
    """Join the cluster named by RAY_ADDRESS (a submitted job has it), else start Ray here. Does nothing when joined.

    Raises EngineError if Ray neither starts nor answers, after a second attempt.
    """
    import ray
    import ray.data

    if ray.is_initialized():
        return
    environment = WORKER_ENVIRONMENT | {DRIVER: str(os.getpid())}
    environment |= CPU_ENVIRONMENT if resources.accelerator == "cpu" else {}
    # Two environments that share the folder where DeepSpeed builds its parts build them over and over, under one lock.
    environment |= {BUILDS: os.environ.get(BUILDS, f"{sys.prefix}/torch_extensions")}
    # `local`: one of our own even while that of another run, or of one that was just killed, is still up.
    cpus = max(LOGICAL_CPUS, os.cpu_count() or 1)
    own = {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": cpus}
    if own:
        # Ours has no dashboard, but its workers would ask the one that another Ray has at the usual port.
        own["dashboard_port"] = free_port()
        end_orphans(DRIVER)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(LOGICAL_CPUS))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", WORKER_ENVIRONMENT["VLLM_LOGGING_LEVEL"])
    # DeepSpeed looks for ninja on the PATH, which a command called by its full path does not have.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    join(own, environment)
    for name in ("ray.llm", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # What a task raises is raised here as well; Ray Data would first take it for a bug of its own, in a hundred lines.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else bad input that a task finds comes back as text only
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = -1
    context.max_consecutive_actor_init_deaths = (
        ENGINE_STARTS  # by default one that is lost while it starts ends the run
    )
    context.use_datasource_v2 = False  # the new Parquet reader takes seconds for four small files


def side_by_side(calls: Iterable[Callable[[], None]], at_once: int, about: str = "", unit: str = "") -> None:
    """Make calls that wait for Ray, `at_once` at a time; the first fault, or Ctrl-C, drops those not yet begun.

    `about`, if given, is what the progress is called that is told after each, in `unit`.
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
    """The sums by column of a Ray Dataset of numbers, which are read as they come: the driver holds one row."""
    totals: Counter[str] = Counter()
    for batch in counted.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
        for row in batch.to_pylist():
            totals.update(row)
    return totals


@contextmanager
def relay() -> Iterator[Callable[[str], None]]:
    """A function to hand to workers on any node: the lines that they say with it are logged here, where the user looks."""
    import ray
    from ray.util.queue import Empty, Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Where the driver is: another node may be lost.
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
    """The object behind a Ray reference, read once a process: rows then share catalogues, tokenizers and similarities."""
    import ray

    return ray.get(reference)
