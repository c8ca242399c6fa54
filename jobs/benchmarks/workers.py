"""Worker processes of a benchmark: each on its own core, all in one process group."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist

from longtail.runtime.cluster import BUILDS


def pin(core: int) -> None:
    """Keep all threads of this process, also later ones, on one core, and let torch compute with one thread."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # ended meanwhile
            os.sched_setaffinity(int(thread.name), {core})
    torch.set_num_threads(1)


def join(rank: int, workers: int, folder: str) -> None:
    """Join the gloo process group of all workers through a file in `folder`, as a DeepSpeed launcher does."""
    torch.set_num_threads(1)
    os.environ |= {
        "DS_ACCELERATOR": "cpu", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(workers),
        "LOCAL_SIZE": str(workers), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
    }  # fmt: skip
    os.environ.setdefault(BUILDS, f"{sys.prefix}/torch_extensions")
    # DeepSpeed looks for ninja on the PATH.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    dist.init_process_group("gloo", f"file://{folder}/meet-{workers}", rank=rank, world_size=workers)
