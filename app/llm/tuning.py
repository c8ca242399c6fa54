"""The tuning loop: a causal LM, weighted examples and a process group in; tuned weights and losses out.

Knows nothing of Ray. The loss is LLM-I2I's (2512.21595): token cross-entropy times the weight of its example, divided by
the weights of the whole batch over all workers, so that the number of workers does not change the gradient.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional

from app.recipe import Tuning

Batch = dict[str, np.ndarray]
"""tokens int64 [batch, length], right-padded; mask bool and weights float32 of the same shape."""

WARM_UP = 0.05  # share of all steps
PROGRESS_SECONDS = 10.0


def collate(tokens: list[np.ndarray], weights: list[np.ndarray], pad: int) -> Batch:
    """Pad examples on the right to the longest of them."""
    length = max(map(len, tokens))
    batch = {
        "tokens": np.full((len(tokens), length), pad, np.int64),
        "mask": np.zeros((len(tokens), length), bool),
        "weights": np.zeros((len(tokens), length), np.float32),
    }
    for row, (ids, weight) in enumerate(zip(tokens, weights, strict=True)):
        batch["tokens"][row, : len(ids)] = ids
        batch["mask"][row, : len(ids)] = True
        batch["weights"][row, : len(ids)] = weight
    return batch


def weighted_loss(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of w_t · CE(token t | tokens before t) over a batch: logits [B, L, V], tokens and weights [B, L] -> scalar."""
    wanted = weights[:, 1:] > 0
    losses = functional.cross_entropy(logits[:, :-1][wanted].float(), tokens[:, 1:][wanted], reduction="none")
    return (losses * weights[:, 1:][wanted]).sum()


def deepspeed_config(settings: Tuning, steps: int, workers: int) -> dict[str, Any]:
    """DeepSpeed's settings for a recipe section; AdamW, warm-up and cosine decay over `steps`."""
    return {
        "train_micro_batch_size_per_gpu": max(1, settings.batch // workers),
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": settings.precision == "bf16"},
        "zero_optimization": {"stage": settings.zero},
        "zero_allow_untested_optimizer": True,
        "optimizer": {
            "type": "AdamW",
            "params": {"lr": settings.lr, "weight_decay": 0.01, "torch_adam": True},
        },
        "scheduler": {
            "type": "WarmupCosineLR",
            "params": {
                "total_num_steps": max(steps, 2),
                "warmup_num_steps": max(2, int(steps * WARM_UP)),
                "cos_min_ratio": 0.05,
            },
        },
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def tune(
    model: nn.Module,
    settings: Tuning,
    epochs: Callable[[int], Iterable[Batch]],
    steps: int,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Tune `model` in place. epochs(e) yields this worker's batches of epoch e; steps is the number over all epochs.

    Returns {"losses": mean loss per epoch, "tokens", "seconds", "steps"}. Raises FloatingPointError, naming epoch and
    step, when a loss is not finite.
    """
    import deepspeed

    workers = dist.get_world_size()
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        config=deepspeed_config(settings, steps, workers),
    )
    losses: list[float] = []
    done, tokens, started = 0, 0, time.monotonic()
    told = started
    for epoch in range(settings.epochs):
        totals = torch.zeros(2, dtype=torch.float64, device=engine.device)
        for batch in _on_device(epochs(epoch), engine.device):
            weight = batch["weights"][:, 1:].sum()
            dist.all_reduce(weight)
            logits = engine(input_ids=batch["tokens"], attention_mask=batch["mask"].long()).logits
            summed = weighted_loss(logits, batch["tokens"], batch["weights"])
            if not torch.isfinite(summed):
                raise FloatingPointError(
                    f"loss is {summed.item()} in epoch {epoch}, step {done}: lower lr or raise the precision"
                )
            # DeepSpeed averages gradients over workers; times `workers` makes that the sum.
            engine.backward(summed * workers / weight.clamp_min(1e-9))
            engine.step()
            totals += torch.stack([summed.detach(), batch["weights"][:, 1:].sum()])
            done, tokens = done + 1, tokens + int(batch["mask"].sum())
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                speed, left = tokens * workers / (told - started), (told - started) / done * (steps - done)
                loss = float(totals[0] / totals[1].clamp_min(1e-9))
                progress(f"step {done} of {steps}, loss {loss:.3f}, {speed:,.0f} tokens/s, {left:.0f} s left")
        dist.all_reduce(totals)
        losses.append(float(totals[0] / totals[1].clamp_min(1e-9)))
    seconds = time.monotonic() - started
    progress(
        f"{done} steps, loss {losses[0]:.3f} → {losses[-1]:.3f}, {tokens * workers / seconds:,.0f} tokens/s"
    )
    return {
        "losses": losses,
        "tokens": tokens * workers,
        "seconds": seconds,
        "steps": done,
    }


def gathered(model: nn.Module, zero: int) -> Any:
    """A context in which every worker sees whole weights, also under ZeRO-3."""
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(model.parameters()), enabled=zero == 3)


def _on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[dict[str, torch.Tensor]]:
    for batch in batches:
        yield {name: torch.from_numpy(array).to(device) for name, array in batch.items()}
