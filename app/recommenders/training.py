"""Running a training loop: by workers of Ray Train, or right here.

A loop is a plain function of arrays, settings and a device. It knows nothing of Ray: where a torch process
group exists (`workers()`), every worker runs the same loop on the same arrays and they divide the work
between them.
"""

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from app.errors import InputError

log = logging.getLogger("longtail")

Arrays = dict[str, np.ndarray]
Loop = Callable[[Arrays, dict[str, Any], torch.device], Arrays]
"""(arrays, settings, device) -> arrays, `losses` float [epochs] among them; worker 0's answer counts."""


def run_distributed(
    loop: Loop, arrays: Arrays, settings: dict[str, Any], n_workers: int, use_gpu: bool
) -> Arrays:
    """Run `loop`, a function of a module, on `n_workers` workers of Ray Train; 0 runs it in this process.

    Raises InputError where the loss did not stay finite.
    """
    if n_workers > 0:
        found = _under_ray_train(loop, arrays, settings, n_workers, use_gpu)
    else:
        found = loop(arrays, settings, torch.device("cuda" if use_gpu else "cpu"))
    losses = found["losses"]
    if not np.isfinite(losses).all():
        raise InputError(
            f"the loss became {losses[-1]} in epoch {len(losses)}: lower lr of this recommender,"
            f" now {settings['lr']}."
        )
    return found


def _under_ray_train(
    loop: Loop, arrays: Arrays, settings: dict[str, Any], n_workers: int, use_gpu: bool
) -> Arrays:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer, get_device

    # Ray Train gives a worker 60 s to start, then starts all over; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    shared = ray.put(arrays)

    def work() -> Arrays | None:
        found = loop(ray.get(shared), settings, get_device())
        return found if workers()[0] == 0 else None

    resources = {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}
    # Only return values come back, never checkpoints, so the folder need not be shared between nodes.
    with tempfile.TemporaryDirectory() as folder:
        result = TorchTrainer(
            work,
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=n_workers, use_gpu=use_gpu, resources_per_worker=resources
            ),
            run_config=RunConfig(name=uuid.uuid4().hex, storage_path=folder),
        ).fit()
    return result.return_value


def workers() -> tuple[int, int]:
    """This worker's rank and how many there are; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(values: torch.Tensor) -> torch.Tensor:
    """Add up `values` of all workers, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


class Progress:
    """Losses and seconds of the epochs; a line in the log every few of them."""

    def __init__(self, name: str, epochs: int) -> None:
        self.name, self.epochs = name, epochs
        self.losses: list[float] = []
        self.started = time.monotonic()

    def epoch(self, loss: float) -> bool:
        """Note an epoch's mean loss; False where it is not finite and going on is no use."""
        self.losses.append(loss)
        done = len(self.losses)
        if workers()[0] == 0 and done % max(1, self.epochs // 10) == 0:
            log.info(
                "%s: epoch %d of %d, loss %.4f, %.2f s each", self.name, done, self.epochs, loss, self._each()
            )
        return bool(np.isfinite(loss))

    def _each(self) -> float:
        return (time.monotonic() - self.started) / max(1, len(self.losses))

    def arrays(self) -> Arrays:
        return {"losses": np.array(self.losses), "seconds_per_epoch": np.array(self._each())}
