"""An engine is AdamW on a model: in one process, or over workers with DeepSpeed ZeRO.

An engine can give and take every trained tensor whole, in fp32, by name, one at a time. So a checkpoint does not depend on
the number of workers or on the ZeRO stage that wrote it, and no worker ever holds the whole optimiser state.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from longtail.recipe import Tuning

MOMENTS = ("exp_avg", "exp_avg_sq")
KINDS = ("weight", *MOMENTS)
"""What a checkpoint keeps of every trained tensor."""


class Engine(ABC):
    """Steps of AdamW on `model`. If there are several workers, all of them call every method together."""

    model: nn.Module
    device: torch.device

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.trained = {name: part for name, part in model.named_parameters() if part.requires_grad}

    @property
    @abstractmethod
    def adam(self) -> torch.optim.AdamW: ...

    @abstractmethod
    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Add the gradient of `loss`, summed over workers. last: whether a step follows."""

    @abstractmethod
    def step(self, lr: float) -> float | torch.Tensor:
        """Clip the gradient and take a step with learning rate `lr`. Returns the norm of the gradient before clipping."""

    @abstractmethod
    def whole(self, name: str, kind: str) -> torch.Tensor:
        """A trained tensor, or one of its moments, whole and in fp32 on every worker. kind: one of KINDS."""

    @abstractmethod
    def put(self, name: str, kind: str, value: torch.Tensor) -> None:
        """Set what `whole` returns."""

    @property
    def steps(self) -> int:
        """Steps that Adam has taken, which its bias correction needs."""
        return max((int(kept["step"]) for kept in self.adam.state.values() if "step" in kept), default=0)

    @abstractmethod
    def begin(self, steps: int) -> None:
        """Create zero moments, as if after `steps` steps, for `put` to fill. Moments that exist stay."""

    @property
    def forward(self) -> nn.Module:
        """The module to call for logits: the model, or DeepSpeed's wrapper around it."""
        return self.model

    def release(self) -> None:
        """Call this after forward passes that are not followed by a step."""
        return

    def gathered(self) -> AbstractContextManager[Any]:
        """A context in which every worker sees whole weights."""
        return nullcontext()


def adamw(parameters: list[nn.Parameter], settings: Tuning) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


class PlainEngine(Engine):
    """One process, no DeepSpeed."""

    def __init__(self, model: nn.Module, settings: Tuning, device: torch.device) -> None:
        super().__init__(model.to(device))
        self.device, self.clip = device, settings.clip
        self._adam = adamw(list(self.trained.values()), settings)

    @property
    def adam(self) -> torch.optim.AdamW:
        return self._adam

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        loss.backward()

    def step(self, lr: float) -> torch.Tensor:
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.clip)
        set_lr(self.adam, lr)
        self.adam.step()
        self.adam.zero_grad()
        return norm

    def whole(self, name: str, kind: str) -> torch.Tensor:
        return moment_of(self.trained[name], kind, self.adam)

    def put(self, name: str, kind: str, value: torch.Tensor) -> None:
        moment_of(self.trained[name], kind, self.adam).copy_(value)

    def begin(self, steps: int) -> None:
        begin_moments(self.adam, list(self.trained.values()), steps)


def set_lr(optimizer: Any, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def moment_of(part: torch.Tensor, kind: str, adam: torch.optim.AdamW) -> torch.Tensor:
    if kind == "weight":
        return part.detach()
    kept = adam.state[part]
    if kind not in kept:  # the tensor never had a gradient, such as an expert that no token used
        kept |= _zero_moments(part, 0)
    return kept[kind]


def begin_moments(adam: torch.optim.AdamW, parts: list[torch.Tensor], steps: int) -> None:
    for part in parts:
        if "step" not in adam.state[part]:
            adam.state[part] = _zero_moments(part, steps)


def _zero_moments(part: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    zeros = {moment: torch.zeros_like(part, requires_grad=False) for moment in MOMENTS}
    return zeros | {"step": torch.tensor(float(steps), device=part.device)}
