"""The tuning loop: it takes a model and example files, and gives tuned weights and a training curve.

It does not use Ray: `launch.py` runs it under Ray Train, and it also runs in a plain process. The loss of a step is that of
LLM-I2I (arXiv 2512.21595): the cross-entropy of each token times its weight, summed over all workers and divided by the sum
of the weights. So the number of workers and the number of forward passes do not change it.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from longtail.errors import InputError
from longtail.llm.finetune.batches import Batch, Batches, shares
from longtail.llm.finetune.optimizer import Engine, PlainEngine
from longtail.llm.finetune.packing import Pack, token_losses
from longtail.llm.finetune.tensor_checkpoints import Checkpoints, Progress
from longtail.llm.finetune.zero import ZeroEngine
from longtail.progress import ended
from longtail.progress import progress as told
from longtail.recipe import Tuning
from longtail.workspace.place import Place

LOOK = 10
"""Losses are summed over workers, checked and logged once per this many steps. To do it every step would be slower."""
LOWEST_LR = 0.05
SAY_SECONDS = 1.0
VALIDATION_BATCH = 256

Figures = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One tuning, as the loop gets it.

    examples: the folder with `train/` and `validation/`. checkpoints: where the state and the best weights are kept. say:
    called with lines about the progress. look: called with the latest row of the curve, once per LOOK steps.
    """

    name: str
    settings: Tuning
    examples: Place
    seed: int
    checkpoints: Checkpoints
    say: Callable[[str], None] = field(default=lambda line: None)
    look: Callable[[Figures], None] = field(default=lambda row: None)


def tune(model: nn.Module, job: Job, device: torch.device) -> tuple[Engine, Progress]:
    """Tune `model` in place, from the latest checkpoint if there is one; it ends with the best weights by validation.

    Ends after `epochs`, or if `patience` validations in a row were no better; patience 0 keeps the last weights. Raises
    InputError that names step and users if a loss or gradient is not finite; the last checkpoint is from before that.
    """
    return _Run(model, job, device).to_the_end()


def learning_rate(settings: Tuning, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, then a cosine down to LOWEST_LR times the highest."""
    warm = max(1, round(steps * settings.warm_up))
    if step < warm:
        return settings.lr * (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    return settings.lr * (LOWEST_LR + (1 - LOWEST_LR) * 0.5 * (1 + math.cos(math.pi * share)))


class _Run:
    def __init__(self, model: nn.Module, job: Job, device: torch.device) -> None:
        self.job, self.settings = job, job.settings
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.workers = dist.get_world_size() if dist.is_initialized() else 1
        self.train = Batches(job.examples / "train", self.settings.batch, job.seed)
        self.valid = Batches(job.examples / "validation", VALIDATION_BATCH, job.seed)
        self.steps = self.settings.epochs * self.train.steps
        # DeepSpeed if there is a process group; one process without DeepSpeed if there is none.
        several = dist.is_initialized()
        self.engine: Engine = (
            ZeroEngine(model, self.settings) if several else PlainEngine(model, self.settings, device)
        )
        self.progress = job.checkpoints.resume(self.engine)
        self.recent: list[tuple[torch.Tensor, Batch, Figures]] = []
        self.saved_step = self.first_step = self.progress.step
        self.first_tokens, self.first_seconds = self.progress.tokens, self.progress.seconds
        self.began = self.saved = self.told = time.monotonic()

    def to_the_end(self) -> tuple[Engine, Progress]:
        progress, each = self.progress, self.train.steps
        if progress.step:
            self._tell(f"{self.job.name}: goes on after step {progress.step} of {self.steps}")
        while True:
            epoch, start = divmod(progress.step, each)
            if start == 0 and epoch > 0:
                self._validate()
            if epoch == self.settings.epochs or self._stale():
                return self._end()
            self.engine.model.train()
            for batch in self.train.epoch(epoch, start):
                self._step(batch)
                if progress.step % LOOK == 0 or progress.step % each == 0:
                    self._look()

    def _step(self, batch: Batch) -> None:
        progress = self.progress
        # Each step and worker has its own seed, so a resumed run has the same dropout as an uninterrupted run.
        torch.manual_seed((self.job.seed * 1_000_003 + progress.step) * 1_009 + self.rank)
        total, weight = torch.zeros((), device=self.engine.device), max(batch.weight, 1e-9)
        for pack, last in self._packs(batch):
            summed = (token_losses(self.engine.forward, pack) * pack.weights).sum() / weight
            self.engine.backward(summed, last)
            total += summed.detach()
        lr = learning_rate(self.settings, progress.step, self.steps)
        norm = self.engine.step(lr)
        progress.step += 1
        progress.tokens += batch.tokens
        row = {"step": progress.step, "lr": lr, "grad_norm": norm, "tokens": progress.tokens}
        self.recent.append((total, batch, row))

    def _packs(self, batch: Batch) -> Iterable[tuple[Pack, bool]]:
        """This worker's forward passes of a step; for each, whether it is the last."""
        dealt = shares([len(one.tokens) for one in batch.examples], self.workers, self.settings.micro_tokens)
        for number, of_workers in enumerate(dealt):
            own = [batch.examples[place] for place in of_workers[self.rank]]
            yield Pack.of(own, self.engine.device), number == len(dealt) - 1

    def _look(self) -> None:
        """Sum the recent losses over workers, check that they are finite, log them, and save a checkpoint if one is due."""
        progress, settings = self.progress, self.settings
        progress.seconds = self.first_seconds + time.monotonic() - self.began
        due = time.monotonic() - self.saved >= 60 * settings.checkpoint_minutes
        due |= 0 < settings.checkpoint_steps <= progress.step - self.saved_step
        flag = torch.tensor(float(due and self.rank == 0), device=self.engine.device)
        sums = torch.stack([loss for loss, _, _ in self.recent] + [flag])
        if dist.is_initialized():
            dist.all_reduce(sums)
        *losses, due = sums.tolist()
        for loss, (_, batch, row) in zip(losses, self.recent, strict=True):
            row |= {"loss": loss, "grad_norm": float(row["grad_norm"]), "seconds": progress.seconds}
            self._check(batch, row)
            progress.curve.append(row)
        self.recent.clear()
        if self.rank == 0:
            self.job.look(progress.curve[-1])
        if time.monotonic() - self.told >= SAY_SECONDS:
            self._tell_progress()
        if due:
            self.job.checkpoints.save(self.engine, progress)
            self.saved, self.saved_step = time.monotonic(), progress.step

    def _check(self, batch: Batch, row: Figures) -> None:
        if math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]):
            return
        users = ", ".join(map(str, batch.users[:5])) + (" …" if len(batch) > 5 else "")
        raise InputError(
            f"{self.job.name}: loss {row['loss']}, gradient norm {row['grad_norm']} at step {row['step']} of "
            f"{self.steps}, whose {len(batch)} examples are of the users {users}. Lower lr (now {self.settings.lr}), or "
            "use precision: fp32. The last good checkpoint is kept, and the same command continues from it."
        )

    @torch.no_grad()
    def _validate(self) -> None:
        """Record the mean validation loss of taught tokens; save the weights if they are the best so far."""
        progress = self.progress
        if not self.settings.patience or not self.valid.rows or progress.step in dict(progress.validations):
            return
        model, sums = self.engine.model.eval(), torch.zeros(2, dtype=torch.float64)
        for batch in self.valid.epoch(0):
            for pack, _ in self._packs(batch):
                losses = token_losses(self.engine.forward, pack) * pack.weights
                sums += torch.stack([losses.sum().cpu(), pack.weights.sum().cpu()]).double()
        model.train()
        self.engine.release()
        if dist.is_initialized():
            sums = sums.to(self.engine.device)
            dist.all_reduce(sums)
        progress.validations.append((progress.step, float(sums[0] / sums[1].clamp_min(1e-9))))
        if self.rank == 0:
            self.job.look({"step": progress.step, "valid_loss": progress.validations[-1][1]})
        if progress.best_step == progress.step:
            self.job.checkpoints.save_best(self.engine, progress.step)

    def _stale(self) -> bool:
        return 0 < self.settings.patience <= self.progress.stale

    def _end(self) -> tuple[Engine, Progress]:
        progress = self.progress
        self._tell_progress()
        if self._stale():
            self._tell(
                ended(self.job.name, f"stops after step {progress.step}, the best was {progress.best_step}")
            )
        if progress.best_step not in (None, progress.step):
            self.job.checkpoints.restore_best(self.engine, progress.best_step)
        return self.engine, progress

    def _tell_progress(self) -> None:
        progress, self.told = self.progress, time.monotonic()
        if not progress.curve:
            return
        passed = progress.seconds - self.first_seconds
        last = [row["loss"] for row in progress.curve[-LOOK:]]
        figures = {
            "loss": sum(last) / len(last),
            "tokens_per_second": (progress.tokens - self.first_tokens) / max(passed, 1e-9),
        }
        note = "loss {loss:.3f}, {tokens_per_second:,.0f} tokens/s"
        if progress.validations:
            figures["valid_loss"] = progress.validations[-1][1]
            note += ", validation loss {valid_loss:.4f}"
        self._tell(
            told(
                self.job.name,
                progress.step,
                self.steps,
                "steps",
                passed,
                since=self.first_step,
                note=note.format(**figures),
                at_most=True,
                **figures,
            )
        )

    def _tell(self, line: str) -> None:
        if self.rank == 0:
            self.job.say(line)
