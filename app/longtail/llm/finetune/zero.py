"""Tuning over workers with DeepSpeed. ZeRO 1 splits the optimiser's state, 2 also the gradients, 3 also the weights."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from longtail.llm.finetune.optimizer import Engine, adamw, begin_moments, moment_of, set_lr
from longtail.recipe import Tuning

BUCKET, LIVE, PREFETCHED, PERSISTENT = 5 * 10**8, 10**9, 5 * 10**7, 10**5
"""DeepSpeed's default limits, in values: gradients sent at once; and under ZeRO 3, weights held whole at one time, weights
fetched ahead, and the size of the largest tensor that always stays whole."""

PARTS = 8
"""Under ZeRO 3 a worker holds at most 1/PARTS of the model whole at one time."""


class ZeroEngine(Engine):
    """Data-parallel tuning under DeepSpeed, with any ZeRO stage or none (0)."""

    def __init__(self, model: nn.Module, settings: Tuning) -> None:
        import deepspeed

        super().__init__(model)
        self.zero, self.clip = settings.zero, settings.clip
        parameters = list(self.trained.values())
        self.engine, *_ = deepspeed.initialize(
            model=model,
            model_parameters=parameters,
            optimizer=adamw(parameters, settings),
            config=deepspeed_config(settings, _values(model.parameters()), _values(parameters)),
        )
        self.device = self.engine.device

    @property
    def adam(self) -> torch.optim.AdamW:
        return getattr(self.engine.optimizer, "optimizer", self.engine.optimizer)

    @property
    def forward(self) -> nn.Module:
        return self.engine

    @property
    def split(self) -> bool:
        """Whether DeepSpeed keeps fp32 weights and moments apart from the model's own tensors."""
        return self.engine.optimizer is not self.adam

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        self.engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed averages gradients over workers; the mean times the number of workers is the sum.
        self.engine.backward(loss * dist.get_world_size())

    def step(self, lr: float) -> float | torch.Tensor:
        set_lr(self.engine.optimizer, lr)
        # Without ZeRO, DeepSpeed clips as well, but it does not return the norm.
        norm = None if self.split else nn.utils.clip_grad_norm_(self.trained.values(), self.clip)
        self.engine.step()
        return self.engine.get_global_grad_norm() if self.split else norm

    def whole(self, name: str, kind: str) -> torch.Tensor:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        part = self.trained[name]
        if not self.split:
            return moment_of(part, kind, self.adam)
        self._link()
        return (
            safe_get_full_fp32_param(part) if kind == "weight" else safe_get_full_optimizer_state(part, kind)
        )

    def put(self, name: str, kind: str, value: torch.Tensor) -> None:
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        part = self.trained[name]
        if not self.split:
            moment_of(part, kind, self.adam).copy_(value)
            return
        self._link()
        if kind != "weight":
            safe_set_full_optimizer_state(part, value.to(self.device), kind)
            return
        safe_set_full_fp32_param(part, value.to(self.device))
        # Until the first step, the forward pass reads these weights.
        with (
            torch.no_grad(),
            deepspeed.zero.GatheredParameters([part], modifier_rank=0, enabled=self.zero == 3),
        ):
            part.copy_(value)

    def begin(self, steps: int) -> None:
        begin_moments(self.adam, self._parts(), steps)

    def _parts(self) -> list[torch.Tensor]:
        """The tensors that Adam updates: this worker's part of the weights, in DeepSpeed's flat groups."""
        if not self.split:
            return list(self.trained.values())
        optimizer = self.engine.optimizer
        for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
            if hasattr(optimizer, name):
                return list(getattr(optimizer, name))
        raise TypeError(f"DeepSpeed's {type(optimizer).__name__} has no known attribute for its weights")

    def _link(self) -> None:
        """Link moments to tensors. DeepSpeed does so at its first step, but `whole` and `put` may be called before."""
        link = getattr(self.engine.optimizer, "_lazy_init_hp_params_optimizer_state", None)
        if link and self.adam.state:
            link()

    def release(self) -> None:
        # ZeRO 3 fetches weights for a next pass; without that pass they can be neither read nor set.
        self.engine.empty_partition_cache()

    def gathered(self) -> AbstractContextManager[Any]:
        import deepspeed

        return deepspeed.zero.GatheredParameters(list(self.model.parameters()), enabled=self.zero == 3)


def deepspeed_config(settings: Tuning, parameters: int, tuned: int) -> dict[str, Any]:
    """DeepSpeed's settings for a recipe section and a model of `parameters` values, `tuned` of them trained.

    The tuning loop handles batches, accumulation and learning rate. DeepSpeed's limits are meant for billions of values:
    with them, ZeRO 3 would keep a smaller model whole, and the gradient buffer would be larger than the model.
    """
    # Without ZeRO, a checkpoint cannot read DeepSpeed's fp32 copy of bf16 weights; ZeRO 1 computes the same.
    stage = max(settings.zero, int(settings.precision == "bf16"))
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": min(BUCKET, tuned)}
    if settings.zero == 3:
        live = min(LIVE, max(1, parameters // PARTS))
        zero |= {
            "reduce_bucket_size": min(BUCKET, max(1, tuned // PARTS)),
            "stage3_max_live_parameters": live,
            "stage3_max_reuse_distance": live,
            "stage3_prefetch_bucket_size": min(PREFETCHED, max(1, live // 2)),
            "stage3_param_persistence_threshold": min(PERSISTENT, max(1, parameters // 1000)),
        }
    if settings.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.clip,
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def _values(parameters: Iterable[nn.Parameter]) -> int:
    return sum(part.numel() for part in parameters)
