"""Two worker processes that meet over gloo: as Ray Train's, without its start."""

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def two_workers(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work(*arguments)` returns in worker 0 of two processes that share a process group."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (folder, work, arguments), nprocs=2)
        return pickle.loads((Path(folder) / "answer").read_bytes())


def _worker(rank: int, folder: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "DS_ACCELERATOR": "cpu", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
    }  # fmt: skip
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = work(*arguments)
    if rank == 0:
        (Path(folder) / "answer").write_bytes(pickle.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
