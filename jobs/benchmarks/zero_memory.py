"""Memory under ZeRO 3 over that under ZeRO 0: the model and the optimiser's state in each of two workers.

A worker's memory is the sum of the storages of all its tensors, each once, after a few steps. ZeRO 3 gathers the full
weights while they are used, so the weights count with their peak during a step. Resident memory is given too.
"""

import gc
import os
import tempfile
import threading
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from jobs.benchmarks.random_llama import Shape, random_llama
from jobs.benchmarks.workers import join
from longtail.llm.finetune.optimizer import adamw
from longtail.llm.finetune.packing import Pack, token_losses
from longtail.llm.finetune.zero import deepspeed_config
from longtail.llm.prompts.example import Example
from longtail.recipe import Tuning

SHAPE, QUICK = Shape(hidden=512, layers=8, vocabulary=8000), Shape(hidden=256, layers=4, vocabulary=2000)
"""31 and 4 million parameters."""
STEPS = 4
EXAMPLES, LENGTH = 4, 32
LOOK_SECONDS = 5e-4
"""The time between two looks. A weight is gathered for some milliseconds."""


def measure(quick: bool = False) -> dict[str, float]:
    """ZeRO 3 over ZeRO 0 with two workers, for a Llama with random weights; the worker with more memory counts.

    `zero3_memory_over_zero0`: bytes of weights, fp32 copies and Adam's moments at the peak of a step in bf16, the
    usual precision with ZeRO 3. `zero3_memory_over_zero0_fp32`: the same in fp32; it is higher, because DeepSpeed
    keeps two fp32 copies of the weights under ZeRO 3 and one under ZeRO 0. `zero3_gradient_memory` and
    `zero0_gradient_memory`: bytes per parameter of gradients and their buffers between steps, in bf16 (none are left
    under ZeRO 0). `zero3_resident_over_zero0`: growth of the process's resident memory, from before the model is built
    to the peak of the steps; it includes activations, gradients and libraries. `zero3_resident_over_zero0_fp32`: the
    same in fp32.
    """
    shape = QUICK if quick else SHAPE
    zero0, zero3 = (_held(shape, zero, "bf16") for zero in (0, 3))
    full0, full3 = (_held(shape, zero, "fp32") for zero in (0, 3))
    return {
        "zero3_memory_over_zero0": zero3["state"] / zero0["state"],
        "zero3_memory_over_zero0_fp32": full3["state"] / full0["state"],
        "zero0_bytes_per_parameter": zero0["state"] / zero0["parameters"],
        "zero3_bytes_per_parameter": zero3["state"] / zero3["parameters"],
        "zero0_gradient_memory": zero0["gradients"] / zero0["parameters"],
        "zero3_gradient_memory": zero3["gradients"] / zero3["parameters"],
        "zero3_resident_over_zero0": zero3["resident"] / zero0["resident"],
        "zero3_resident_over_zero0_fp32": full3["resident"] / full0["resident"],
    }


def _held(shape: Shape, zero: int, precision: str) -> dict[str, float]:
    """{state, gradients, resident} in bytes, each the larger one of both workers, and {parameters}, their number."""
    # glibc reads this at the start of a process. Without it, freed memory is kept and would count as resident.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    answers = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (shape, zero, precision, folder, answers), nprocs=2)
    both = [answers.get() for _ in range(2)]
    return {name: max(one[name] for one in both) for name in both[0]}


def _worker(rank: int, shape: Shape, zero: int, precision: str, folder: str, answers: Any) -> None:
    join(rank, 2, folder)
    import deepspeed  # noqa: F401  first, so that its own memory is not counted as the model's

    before = _resident()
    model = random_llama(shape)
    parameters = sum(part.numel() for part in model.parameters())
    engine = _engine(model, zero, precision)
    tokens = np.random.default_rng(rank).integers(shape.vocabulary, size=(EXAMPLES, LENGTH), dtype=np.int32)
    examples = [Example(row, np.ones(LENGTH, np.float32)) for row in tokens]
    with _Watch(model) as watch:
        for _ in range(STEPS):
            loss = token_losses(engine, Pack.of(examples, engine.device)).mean()
            engine.backward(loss)
            engine.step()
    del loss
    gc.collect()
    everything = live_storages()
    gradients = {
        place: size
        for place, size in gradient_storages(engine.optimizer, model).items()
        if place in everything
    }
    steady = sum(everything.values()) - sum(gradients.values()) - weight_bytes(model)
    answers.put(
        {
            "state": steady + watch.weights,
            "gradients": sum(gradients.values()),
            "resident": watch.resident - before,
            "parameters": parameters,
        }
    )
    dist.barrier()
    dist.destroy_process_group()


def _engine(model: nn.Module, zero: int, precision: str) -> Any:
    """DeepSpeed's engine with our settings. With zero = 0 it really uses ZeRO 0; in bf16 our settings would use ZeRO
    1.
    """
    import deepspeed

    parameters = list(model.parameters())
    settings, count = Tuning(zero=zero, precision=precision), sum(part.numel() for part in parameters)
    config = deepspeed_config(settings, count, count)
    config["zero_optimization"]["stage"] = zero
    optimizer = adamw(parameters, settings)
    return deepspeed.initialize(model=model, model_parameters=parameters, optimizer=optimizer, config=config)[
        0
    ]


def live_storages() -> dict[int, int]:
    """The memory of all tensors of this process, gradients included: bytes by address."""
    found: dict[int, int] = {}
    for one in gc.get_objects():
        if issubclass(type(one), torch.Tensor) and one.device.type == "cpu":
            found |= _storages([one] + ([one.grad] if one.is_leaf and one.grad is not None else []))
    return found


def gradient_storages(optimizer: Any, model: nn.Module) -> dict[int, int]:
    """The memory of gradients, and of the buffers in which DeepSpeed's `optimizer` sends them: bytes by address."""
    tensors = [part.grad for part in model.parameters() if part.grad is not None]
    for name in ("grad_partitions_flat_buffer", "averaged_gradients", "ipg_buckets"):
        tensors += _tensors_in(vars(optimizer).get(name))
    return _storages(tensors)


def weight_bytes(model: nn.Module) -> int:
    """The bytes of the model's own tensors. Under ZeRO 3 these are only the weights that are gathered at the moment."""
    return sum(_storages([part.data for part in model.parameters()]).values())


def _tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in _tensors_in(one)]
    buffer = getattr(value, "buffer", None)  # that of a bucket
    return [] if buffer is None else [buffer]


def _storages(tensors: list[torch.Tensor]) -> dict[int, int]:
    memory = (tensor.untyped_storage() for tensor in tensors)
    return {one.data_ptr(): one.nbytes() for one in memory if one.nbytes()}


class _Watch:
    """The peaks, while it watches, of the weights' bytes and of the process's resident bytes."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.weights, self.resident = model, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.weights = max(self.weights, weight_bytes(self.model))
            self.resident = max(self.resident, _resident())


def _resident() -> int:
    """The resident memory of this process now, in bytes."""
    import psutil

    return psutil.Process().memory_info().rss
