"""The training loop that all trained models share.

It does not use Ray. Its inputs are arrays and, if there is one, a torch process group; its results are checkpoints, a
learning curve and the weights. So it also runs in a plain process. `longtail.runtime.workers` runs it under Ray Train.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from longtail.errors import InputError
from longtail.progress import ended, progress
from longtail.recommenders.training.epoch_checkpoints import Checkpoint, Checkpoints

Arrays = dict[str, np.ndarray]

SAY_SECONDS = 1.0
"""Progress is reported with this interval, and at the end. app/longtail/command/log.py may show fewer of the lines."""
LR_DROP = 0.2
"""The factor by which the learning rate is lowered. For SASRec a lower rate at the end raised the validation NDCG by a
tenth (docs/results/recommenders.md)."""


class Learner(ABC):
    """A model in training. With a process group, all workers call each method together.

    Each epoch has its own random generator, and torch gets a new seed for it. So a training that continues from a
    checkpoint reaches the same weights as a training that was never interrupted.
    """

    adam: torch.optim.Optimizer
    """The optimiser. The loop lowers its learning rate if validation no longer improves."""

    @abstractmethod
    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None: ...

    @abstractmethod
    def epoch(self, rng: np.random.Generator) -> float:
        """Pass once over the data; returns the mean loss. `rng` and the result are the same on all workers."""

    @abstractmethod
    def weights(self) -> Arrays:
        """The weights that the recommender keeps. The result of worker 0 is used."""

    @abstractmethod
    def state(self) -> Arrays:
        """All that is needed to continue, not split by worker: the number of workers may change. The result of worker 0
        is used.
        """

    @abstractmethod
    def restore(self, state: Arrays) -> None:
        """Continue from `state`."""


@dataclass(frozen=True)
class Training:
    """One fit, as it is sent to workers.

    `validate` returns the validation metric of weights; larger is better. `checkpoints` is where the state is saved.
    `say` is called with lines about the progress, and `report` with the epoch and the metric of each validation.
    """

    name: str
    learner: type[Learner]
    arrays: Arrays
    settings: dict[str, Any]
    epochs: int
    seed: int
    validate: Callable[[Arrays], float] | None = None
    validate_every: int = 0
    patience: int = 1
    lr_drops: int = 0
    drop_after: tuple[int, ...] = ()
    """Epochs after which the learning rate is lowered, whatever validation says."""
    checkpoints: Checkpoints | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    report: Callable[[int, float], None] = field(default=lambda epoch, score: None)


@dataclass
class Fitted:
    """The result of a training: the best weights by validation, or the last ones without validation, and the curve.

    losses and seconds have one value per epoch; scores has one (epoch, metric) per validation. drops: the epochs after
    which the learning rate was lowered.
    """

    weights: Arrays
    losses: list[float]
    seconds: list[float]
    scores: list[tuple[int, float]]
    drops: list[int]

    @property
    def best_epoch(self) -> int:
        return max(self.scores, key=lambda score: score[1])[0] if self.scores else len(self.losses)

    def curve(self) -> Arrays:
        """The learning curve: epoch, loss, seconds and ndcg (NaN if there was no validation), each [epochs]."""
        scores = dict(self.scores)
        epochs = np.arange(1, len(self.losses) + 1)
        return {
            "epoch": epochs,
            "loss": np.array(self.losses),
            "seconds": np.array(self.seconds),
            "ndcg": np.array([scores.get(epoch, np.nan) for epoch in epochs]),
        }


def train_loop(training: Training, device: torch.device) -> Fitted:
    """Train until the last epoch, or until `patience` validations in a row had no new best.

    The first `lr_drops` times that this happens, the learning rate is lowered and training continues from the current
    weights, not from the best ones. Training starts from the latest checkpoint, if there is one. Raises InputError if
    the loss becomes infinite or NaN.
    """
    first = workers()[0] == 0
    learner = training.learner(training.arrays, training.settings, device)
    done = _from_first(training.checkpoints.latest() if training.checkpoints else None)
    if done:
        learner.restore(done.state)
        _slow_down(learner, len(done.drops))
        if first:
            training.say(f"{training.name}: goes on after epoch {done.epoch} of {training.epochs}")
    done = done or Checkpoint()
    started = saved = told = time.monotonic()
    since = done.epoch
    for epoch in range(done.epoch + 1, training.epochs + 1):
        began = time.monotonic()
        torch.manual_seed(hash((training.seed, epoch, workers()[0])) % 2**63)
        loss = learner.epoch(np.random.default_rng([training.seed, epoch]))
        done.epoch = epoch
        done.losses.append(loss)
        done.seconds.append(time.monotonic() - began)
        if not np.isfinite(loss):
            raise InputError(
                f"the loss became {loss} in epoch {epoch}: lower lr of this recommender, now {training.settings['lr']}."
            )
        if training.validate and epoch % training.validate_every == 0:
            weights = learner.weights()
            if first:
                done.note(training.validate(weights), weights)
                training.report(*done.scores[-1])
        if first and (time.monotonic() - told >= SAY_SECONDS or epoch == training.epochs):
            told = time.monotonic()
            training.say(_line(training, done, told - started, since))
        stale = bool(training.validate) and done.stale >= training.patience
        drop = stale and len(done.drops) < training.lr_drops or epoch in training.drop_after
        save = training.checkpoints is not None and time.monotonic() - saved >= training.checkpoints.seconds
        drop, stop, save = _decided(drop, stale and not drop, save)
        if drop:
            done.drops.append(epoch)
            _slow_down(learner, 1)
        if save and not stop:
            done.state = learner.state()
            if first:
                training.checkpoints.save(done)
            saved = time.monotonic()
        if stop:
            if first:
                training.say(ended(training.name, f"stops after epoch {epoch}, best was {done.best_epoch}"))
            break
    last = learner.weights()
    return Fitted(done.best or last, done.losses, done.seconds, done.scores, done.drops)


def _slow_down(learner: Learner, times: int) -> None:
    for group in learner.adam.param_groups:
        group["lr"] *= LR_DROP**times


def _line(training: Training, done: Checkpoint, elapsed: float, since: int) -> str:
    score = f", validation NDCG@10 {done.scores[-1][1]:.4f}" if done.scores else ""
    note = f"loss {done.losses[-1]:.4f}{score}"
    return progress(
        training.name,
        done.epoch,
        training.epochs,
        "epochs",
        elapsed,
        since=since,
        note=note,
        at_most=training.validate is not None,
        loss=done.losses[-1],
    )


def _decided(*decisions: bool) -> list[bool]:
    """The decisions of worker 0, sent to all workers."""
    flags = torch.tensor(decisions, dtype=torch.float32)
    if dist.is_initialized():
        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        flags = flags.to(device)
        dist.broadcast(flags, 0)
    return [bool(flag) for flag in flags]


def _from_first(done: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint that worker 0 found, sent to all workers: another worker may see a new file only a moment later."""
    if not dist.is_initialized():
        return done
    box = [done]
    dist.broadcast_object_list(box, 0)
    return box[0]


def workers() -> tuple[int, int]:
    """The rank of this worker and the number of workers; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(values: torch.Tensor) -> torch.Tensor:
    """Add up the `values` of all workers, in place; returns `values`."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values
