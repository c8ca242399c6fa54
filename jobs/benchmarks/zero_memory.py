"""What ZeRO 3 saves: memory of each of two workers for a model and its optimiser's state, over that of ZeRO 0.

Counted by what a worker holds: every live tensor's storage, once, after a few steps; and, as ZeRO 3 makes weights whole
while they are used, the most that the weights took during a step. Resident memory is told beside it.
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
"""A weight is whole for milliseconds."""


def measure(quick: bool = False) -> dict[str, float]:
    """Two workers, ZeRO 3 over ZeRO 0, a Llama of random weights on four short examples; the larger of both workers.

    `zero3_memory_over_zero0`: bytes of weights, fp32 copies and Adam's moments at the peak of a step in bf16, the
    precision of whoever needs ZeRO 3. `zero3_memory_over_zero0_fp32` is higher, as DeepSpeed keeps two fp32 copies of the
    weights under ZeRO 3 and one under ZeRO 0. `zero3_gradient_memory` and `zero0_gradient_memory`: bytes of gradients and
    their buffers between steps, per parameter, bf16 (under ZeRO 0 none are left). `zero3_resident_over_zero0`: growth of
    the process's resident memory from before the model was built to the peak of the steps, activations, gradients and
    libraries included; _fp32 likewise.
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
    """{state, gradients, resident} in bytes, the larger of two workers', and {parameters}."""
    # Read by glibc as a process starts: without it, freed memory is kept, and would count as resident.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    answers = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (shape, zero, precision, folder, answers), nprocs=2)
    both = [answers.get() for _ in range(2)]
    return {name: max(one[name] for one in both) for name in both[0]}


def _worker(rank: int, shape: Shape, zero: int, precision: str, folder: str, answers: Any) -> None:
    join(rank, 2, folder)
    import deepspeed  # noqa: F401  what it takes itself is not the model's

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
    """DeepSpeed's engine with our settings; at ZeRO 0 truly, where in bf16 ours would take ZeRO 1."""
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
    """Place and bytes of the memory of every tensor that lives in this process, gradients included."""
    found: dict[int, int] = {}
    for one in gc.get_objects():
        if issubclass(type(one), torch.Tensor) and one.device.type == "cpu":
            found |= _storages([one] + ([one.grad] if one.is_leaf and one.grad is not None else []))
    return found


def gradient_storages(optimizer: Any, model: nn.Module) -> dict[int, int]:
    """Those of gradients, and of the buffers that DeepSpeed's `optimizer` sends them in."""
    tensors = [part.grad for part in model.parameters() if part.grad is not None]
    for name in ("grad_partitions_flat_buffer", "averaged_gradients", "ipg_buckets"):
        tensors += _tensors_in(vars(optimizer).get(name))
    return _storages(tensors)


def weight_bytes(model: nn.Module) -> int:
    """What the model's own tensors take; under ZeRO 3 only those that are whole at the time."""
    return sum(_storages([part.data for part in model.parameters()]).values())


def _tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in _tensors_in(one)]
    buffer = getattr(value, "buffer", None)  # a bucket's
    return [] if buffer is None else [buffer]


def _storages(tensors: list[torch.Tensor]) -> dict[int, int]:
    memory = (tensor.untyped_storage() for tensor in tensors)
    return {one.data_ptr(): one.nbytes() for one in memory if one.nbytes()}


class _Watch:
    """The most bytes that weights took, and that the process had resident, while it was watched."""

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
    """Bytes of this process in memory now."""
    import psutil

    return psutil.Process().memory_info().rss
