"""Tokens per second of fine-tuning: Ray Train and DeepSpeed compared with plain PyTorch, two workers with one.

The tuning loops are timed in turns of one epoch. After its epoch a loop waits while the other loops have their turn, so
all of them run under the same conditions. The first turn of each loop, which includes start-up, is not counted.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from jobs.benchmarks import zero_memory
from jobs.benchmarks.random_llama import Lengths, Shape, random_examples, random_llama
from jobs.benchmarks.timing import seconds
from jobs.benchmarks.workers import join, pin
from longtail.errors import InputError
from longtail.llm.finetune.batches import Batch, Batches
from longtail.llm.finetune.optimizer import adamw
from longtail.llm.finetune.packing import Pack, token_losses
from longtail.llm.finetune.tensor_checkpoints import Checkpoints
from longtail.llm.finetune.tuning_loop import Job, learning_rate, tune
from longtail.recipe import Resources, Tuning
from longtail.runtime.cluster import connect
from longtail.workspace import Workspace

CPU, SEED = torch.device("cpu"), 0
LENGTHS = Lengths(shortest=10, longest=60, taught=2)
"""Lengths of histories of item tokens. An example is tuned on two tokens: an item token and the end."""


@dataclass(frozen=True)
class Size:
    """The model and the work: `steps` in a turn, and the number of turns that count."""

    shape: Shape
    batch: int
    steps: int
    turns: int

    @property
    def settings(self) -> Tuning:
        return Tuning(epochs=1 + self.turns, batch=self.batch, patience=0, lr=1e-3, checkpoint_minutes=1e6)


FULL = Size(Shape(hidden=256, layers=4, vocabulary=4000), batch=256, steps=3, turns=4)
QUICK = Size(Shape(hidden=64, layers=2, vocabulary=500), batch=16, steps=4, turns=2)


def measure(quick: bool = False) -> dict[str, float]:
    """Ratios of tokens per second, each from the best of some turns, and the figures of `zero_memory.measure`.

    Each worker has one core and one thread; fp32, ZeRO 1. `deepspeed_over_plain`: the loop under DeepSpeed in one
    worker of Ray Train over a plain PyTorch loop in the same process, with the same weights and the same packs, which
    are made beforehand. `deepspeed_loss_difference`: the largest relative difference of their losses.
    `packed_over_padded`: the loop under DeepSpeed over a plain Hugging Face loop, which pads batches on the right and
    computes logits at all positions. `two_over_one`: two workers over one with the same examples per step, both under
    DeepSpeed without Ray.
    """
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        examples = Workspace(folder) / "examples"
        random_examples(examples, size.batch * size.steps, LENGTHS, size.shape.vocabulary)
        found = _over_plain(size, folder) | _two_over_one(size, folder)
    return found | zero_memory.measure(quick)


class Turns:
    """Pauses a tuning after every epoch for the others' turns, and measures its tokens per second in between."""

    def __init__(self, size: Size, others: Callable[[int], None]) -> None:
        """others: called with the number of each finished epoch."""
        self.size, self.others = size, others
        self.rates: list[float] = []
        self.began, self.tokens = 0.0, 0

    def look(self, row: dict[str, Any]) -> None:
        """The `look` of a job: called after the last step of an epoch, and sometimes between."""
        epochs, within = divmod(row["step"], self.size.steps)
        if within:
            return
        epoch = epochs - 1
        if epoch > 0:
            self.rates.append((row["tokens"] - self.tokens) / (time.perf_counter() - self.began))
        self.others(epoch)
        self.tokens, self.began = row["tokens"], time.perf_counter()


def _job(size: Size, folder: str, name: str, turns: Turns) -> Job:
    checkpoints = Checkpoints(Workspace(folder) / name)
    return Job(name, size.settings, Workspace(folder) / "examples", SEED, checkpoints, look=turns.look)


def _over_plain(size: Size, folder: str) -> dict[str, float]:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    connect(Resources(llm_workers=1))
    try:
        result = TorchTrainer(
            _ray_worker,
            train_loop_config={"size": size, "folder": folder, "core": max(os.sched_getaffinity(0))},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name="finetune", storage_path=f"{folder}/ray"),
        ).fit()
    finally:
        ray.shutdown()
    return result.return_value


def _ray_worker(config: dict[str, Any]) -> dict[str, float]:
    """The loop under DeepSpeed, and between its epochs the plain loops in the same process."""
    size, folder = config["size"], config["folder"]
    pin(config["core"])
    batches = Batches(Workspace(folder) / "examples" / "train", size.batch, SEED)
    plain, padded = Plain(size), Padded(size)

    def others(epoch: int) -> None:
        step = list(batches.epoch(epoch))
        plain.turn(step)
        padded.turn(step)

    turns = Turns(size, others)
    _, progress = tune(random_llama(size.shape), _job(size, folder, "ray", turns), CPU)
    ours = [row["loss"] for row in progress.curve]
    return {
        "deepspeed_over_plain": max(turns.rates) / max(plain.rates[1:]),
        "deepspeed_loss_difference": max(
            abs(one / other - 1) for one, other in zip(ours, plain.losses, strict=True)
        ),
        "packed_over_padded": max(turns.rates) / max(padded.rates[1:]),
        "finetune_tokens_per_second": max(turns.rates),
    }


class Plain:
    """A plain PyTorch loop over packs: no DeepSpeed, no Ray, and its inputs are ready before the clock starts."""

    packed = True

    def __init__(self, size: Size) -> None:
        self.settings, self.steps = size.settings, size.steps * size.settings.epochs
        self.model = random_llama(size.shape, self.packed).train()
        self.adam = adamw(list(self.model.parameters()), self.settings)
        self.losses: list[float] = []
        self.rates: list[float] = []

    def turn(self, batches: list[Batch]) -> None:
        inputs = [self.inputs(batch) for batch in batches]
        passed = seconds(lambda: [self.step(one) for one in inputs])
        self.rates.append(sum(batch.tokens for batch in batches) / passed)

    def step(self, inputs: Any) -> None:
        loss = self.loss(inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.settings, len(self.losses), self.steps)
        self.adam.step()
        self.adam.zero_grad()
        self.losses.append(loss.item())

    def inputs(self, batch: Batch) -> Any:
        return Pack.of(batch.examples, CPU)

    def loss(self, inputs: Any) -> torch.Tensor:
        return (token_losses(self.model, inputs) * inputs.weights).sum() / inputs.weights.sum()


class Padded(Plain):
    """The loop of the Hugging Face manual: batches padded on the right, an attention mask, logits at all positions."""

    packed = False

    def inputs(self, batch: Batch) -> Any:
        shape = len(batch), max(len(one.tokens) for one in batch.examples)
        tokens, mask, labels = torch.zeros(3, *shape, dtype=torch.int64)
        labels -= 100
        for row, one in enumerate(batch.examples):
            length = len(one.tokens)
            tokens[row, :length] = torch.from_numpy(one.tokens)
            mask[row, :length] = 1
            taught = torch.from_numpy(one.weights > 0)
            labels[row, :length][taught] = tokens[row, :length][taught]
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}

    def loss(self, inputs: Any) -> torch.Tensor:
        return self.model(**inputs, use_cache=False).loss


def _two_over_one(size: Size, folder: str) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise InputError(
            "two workers need two cores, this process has one: run the benchmark on a larger machine."
        )
    context = mp.get_context("spawn")
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    mp.spawn(_gloo_worker, (size, folder, cores, barrier, answers), nprocs=3)
    rates = dict(answers.get() for _ in range(2))
    return {"two_over_one": rates["together"] / rates["alone"]}


def _gloo_worker(number: int, size: Size, folder: str, cores: list[int], barrier: Any, answers: Any) -> None:
    """Processes 0 and 1 tune together, process 2 alone, on the core of 0. Processes 0 and 2 take turns.

    Process 1 has its own core, so it may begin its next step in the turn of 2. This saves no time, because the step
    ends only after that of process 0.
    """
    name, rank, workers = ("alone", 0, 1) if number == 2 else ("together", number, 2)
    pin(cores[rank])
    join(rank, workers, folder)

    def hand_over(epoch: int) -> None:
        last = epoch == size.turns
        if name == "alone":
            # The first epoch is not timed, and runs at the same time as the first epoch of the others.
            waits = 1 if epoch == 0 or last else 2
        else:
            waits = 0 if last else 2
        for _ in range(waits):
            barrier.wait()

    turns = Turns(size, hand_over)
    tune(random_llama(size.shape), _job(size, folder, name, turns), CPU)
    if rank == 0:
        answers.put((name, max(turns.rates)))
    dist.barrier()
    dist.destroy_process_group()
