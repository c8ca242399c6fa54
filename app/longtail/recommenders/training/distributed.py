"""Engines that train a module with Adam: in one process, data-parallel (DDP), or fully split (DeepSpeed ZeRO 3)."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.training.training_loop import Arrays, workers

BETAS = (0.9, 0.98)
"""The betas of Adam, as in the SASRec authors' code."""

MOMENTS = ("exp_avg", "exp_avg_sq")


class Engine(ABC):
    """Computes the losses of `module` and trains it. The recommender keeps the child `model` of `module`."""

    module: nn.Module
    adam: torch.optim.Optimizer

    @abstractmethod
    def loss(self, *batch: Any) -> Any: ...

    @abstractmethod
    def step(self, loss: torch.Tensor) -> None:
        """Do one step of Adam with the gradient of `loss`, averaged over the workers."""

    @abstractmethod
    def weights(self) -> Arrays: ...

    @abstractmethod
    def state(self) -> Arrays: ...

    @abstractmethod
    def restore(self, state: Arrays) -> None: ...


def engine_for(section: SASRecSection, module: nn.Module, device: torch.device) -> Engine:
    """The engine that the section names. `deepspeed` needs several workers in a process group, as Ray Train starts them;
    without them the plain engine is used.
    """
    if section.engine == "deepspeed" and workers()[1] > 1:
        return ZeroEngine(section, module)
    return PlainEngine(section, module)


class PlainEngine(Engine):
    """One process, or DDP if there are several workers."""

    def __init__(self, section: SASRecSection, module: nn.Module) -> None:
        self.module = module
        self.parallel = DistributedDataParallel(module) if workers()[1] > 1 else module
        self.adam = torch.optim.Adam(
            module.parameters(), lr=section.lr, betas=BETAS, weight_decay=section.l2, fused=True
        )

    def loss(self, *batch: Any) -> Any:
        return self.parallel(*batch)

    def step(self, loss: torch.Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def weights(self) -> Arrays:
        return _arrays(self.module.model.state_dict())

    def state(self) -> Arrays:
        found = {f"model.{name}": array for name, array in self.weights().items()}
        for name, parameter in self.module.model.named_parameters():
            kept = self.adam.state[parameter]
            found |= {f"{moment}.{name}": kept[moment].cpu().numpy() for moment in MOMENTS if moment in kept}
            found["step"] = np.array(float(kept["step"]) if kept else 0.0)
        return found

    def restore(self, state: Arrays) -> None:
        _load(self.module.model, state)
        for name, parameter in self.module.model.named_parameters():
            if f"{MOMENTS[0]}.{name}" in state:
                self.adam.state[parameter] = {
                    moment: torch.from_numpy(state[f"{moment}.{name}"].copy()).to(parameter)
                    for moment in MOMENTS
                } | {"step": torch.tensor(float(state["step"]))}


def _arrays(tensors: dict[str, torch.Tensor]) -> Arrays:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _load(model: nn.Module, state: Arrays) -> None:
    weights = {
        name.removeprefix("model."): array for name, array in state.items() if name.startswith("model.")
    }
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})


class ZeroEngine(Engine):
    """DeepSpeed ZeRO 3: each worker keeps a part of weights, gradients and moments. A layer is gathered when it is used."""

    def __init__(self, section: SASRecSection, module: nn.Module) -> None:
        import deepspeed

        # The losses use the weight of the embedding directly, outside the forward pass of the embedding.
        deepspeed.zero.register_external_parameter(module, module.model.items.weight)
        self.module = module
        self.zero, *_ = deepspeed.initialize(
            model=module,
            model_parameters=list(module.parameters()),
            config={
                "train_micro_batch_size_per_gpu": section.batch,
                "zero_optimization": {"stage": 3},
                "optimizer": {
                    "type": "Adam",
                    "params": {
                        "lr": section.lr,
                        "betas": BETAS,
                        "weight_decay": section.l2,
                        "torch_adam": True,
                    },
                },
                "steps_per_print": 10**9,
            },
        )
        self.adam = self.zero.optimizer.optimizer

    def loss(self, *batch: Any) -> Any:
        return self.zero(*batch)

    def step(self, loss: torch.Tensor) -> None:
        self.zero.backward(loss)
        self.zero.step()

    def weights(self) -> Arrays:
        from deepspeed.utils import safe_get_full_fp32_param

        return _arrays(
            {name: safe_get_full_fp32_param(p) for name, p in self.module.model.named_parameters()}
        )

    def state(self) -> Arrays:
        from deepspeed.utils import safe_get_full_optimizer_state

        found = {f"model.{name}": array for name, array in self.weights().items()}
        for moment in MOMENTS:
            for name, parameter in self.module.model.named_parameters():
                found[f"{moment}.{name}"] = safe_get_full_optimizer_state(parameter, moment).cpu().numpy()
        # The gathered moments do not include the number of steps, which torch's Adam keeps.
        kept = next(iter(self.adam.state.values()))
        return found | {"step": np.array(float(kept["step"]))}

    def restore(self, state: Arrays) -> None:
        import deepspeed
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for (
            part
        ) in self.zero.optimizer.fp32_partitioned_groups_flat:  # Adam has no moments before its first step
            self.adam.state[part] = {moment: torch.zeros_like(part) for moment in MOMENTS} | {
                "step": torch.tensor(float(state["step"]))
            }
        with deepspeed.zero.GatheredParameters(list(self.module.parameters()), modifier_rank=0):
            _load(self.module.model, state)  # the forward pass reads these until the first step
        for name, parameter in self.module.model.named_parameters():
            safe_set_full_fp32_param(parameter, torch.from_numpy(state[f"model.{name}"].copy()))
            for moment in MOMENTS:
                value = torch.from_numpy(state[f"{moment}.{name}"].copy())
                safe_set_full_optimizer_state(parameter, value, moment)
