"""The training loop that all trained models share.

It knows nothing of Ray: arrays and, where there is one, a torch process group go in; checkpoints, a learning curve and
the weights come out. So it runs as a plain process too; `longtail.runtime.workers` runs it under Ray Train.
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
"""Progress is told so often, and at the end; who looks at it may want less (see app/longtail/command/log.py)."""
LR_DROP = 0.2
"""What the learning rate is multiplied by when it falls: worth a tenth of SASRec's NDCG on validation
(docs/results/recommenders.md)."""


class Learner(ABC):
    """A model in training. With a process group all workers call every method together.

    Every epoch draws from a generator of its own, and torch is seeded anew for it, so that a training that goes on from
    a checkpoint repeats nothing and reaches the weights of one that was never cut.
    """

    adam: torch.optim.Optimizer
    """The loop lowers its learning rate where validation says so."""

    @abstractmethod
    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None: ...

    @abstractmethod
    def epoch(self, rng: np.random.Generator) -> float:
        """Pass once over the data; the mean loss, the same on all workers. `rng` is the same on all workers."""

    @abstractmethod
    def weights(self) -> Arrays:
        """What the recommender keeps; worker 0's answer counts."""

    @abstractmethod
    def state(self) -> Arrays:
        """Everything that it takes to go on, whole and whatever the number of workers; worker 0's answer counts."""

    @abstractmethod
    def restore(self, state: Arrays) -> None:
        """Go on from `state`."""


@dataclass(frozen=True)
class Training:
    """One fit, as it is sent to workers.

    `validate` tells the validation metric of some weights, larger is better; `checkpoints` is where state is kept;
    `say` takes lines about the progress, `report` every validation's epoch and metric.
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
    checkpoints: Checkpoints | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    report: Callable[[int, float], None] = field(default=lambda epoch, score: None)


@dataclass
class Fitted:
    """What a training found: the best weights by validation, else the last, and the curve that led there.

    losses and seconds have one value an epoch; scores one for each validation, as (epoch, metric).
    """

    weights: Arrays
    losses: list[float]
    seconds: list[float]
    scores: list[tuple[int, float]]

    @property
    def best_epoch(self) -> int:
        return max(self.scores, key=lambda score: score[1])[0] if self.scores else len(self.losses)

    def curve(self) -> Arrays:
        """epoch, loss, seconds and ndcg (NaN where it was not measured), each [epochs]."""
        scores = dict(self.scores)
        epochs = np.arange(1, len(self.losses) + 1)
        return {
            "epoch": epochs,
            "loss": np.array(self.losses),
            "seconds": np.array(self.seconds),
            "ndcg": np.array([scores.get(epoch, np.nan) for epoch in epochs]),
        }


def train_loop(training: Training, device: torch.device) -> Fitted:
    """Train until the last epoch, or until `patience` validations in a row were no better. Before it ends, the learning
    rate falls `lr_drops` times, each after as many validations, from the weights that are there.

    Raises InputError where the loss does not stay finite. The loop goes on from the latest checkpoint there is.
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
        drop = stale and len(done.drops) < training.lr_drops
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
    return Fitted(done.best or last, done.losses, done.seconds, done.scores)


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
    """Worker 0's decisions, on all workers."""
    flags = torch.tensor(decisions, dtype=torch.float32)
    if dist.is_initialized():
        device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
        flags = flags.to(device)
        dist.broadcast(flags, 0)
    return [bool(flag) for flag in flags]


def _from_first(done: Checkpoint | None) -> Checkpoint | None:
    """Worker 0's view of where to go on: another worker may see a shared folder a moment later."""
    if not dist.is_initialized():
        return done
    box = [done]
    dist.broadcast_object_list(box, 0)
    return box[0]


def workers() -> tuple[int, int]:
    """This worker's rank and how many there are; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def sum_over_workers(values: torch.Tensor) -> torch.Tensor:
    """Add up `values` of all workers, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values
