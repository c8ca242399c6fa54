"""Estimate, before anything starts, how much memory tuning needs per worker, and which settings would fit.

Model states follow ZeRO (arXiv 1910.02054, section 3): per tuned parameter 2 + 2 + 12 bytes in bf16 (weights, gradients,
fp32 copy with Adam's two moments). In fp32 it is 4 + 4 + 8, and 4 more for the copy that DeepSpeed keeps under ZeRO 1-3.
Stage 1 splits the optimiser's state between workers, 2 also the gradients, 3 also the weights. A parameter that LoRA does
not tune needs only its weights.

Activations follow arXiv 2205.05198, section 4.1, for attention that stores no score matrix: at most
18 · hidden + 5 · inner values per token and layer (measured on Llama, Qwen2 and GPT-2 with packed attention). With
checkpointing it is the inputs of all layers and the values of one layer. Logits and their gradient are in fp32; in the
worst case every token has them.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psutil
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig

from longtail.errors import InputError
from longtail.llm.finetune.zero import BUCKET, LIVE, PARTS
from longtail.recipe import LLM, Recipe, Tuning
from longtail.runtime.cgroups import memory_left

log = logging.getLogger("longtail")

GIB = 2**30
RUNTIME = 3 * GIB // 4
"""Bytes of the process itself: Python, torch and Ray; on a GPU also its context and the buffers of collectives."""
MOST_WORKERS = 64
LORA_RANK = 16


@dataclass(frozen=True)
class Size:
    """The size of a model, as counts of values."""

    parameters: int
    tuned: int
    layers: int
    hidden: int
    inner: int
    vocabulary: int


@dataclass(frozen=True)
class Need:
    """Bytes that one worker needs."""

    weights: float
    gradients: float
    optimiser: float
    activations: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimiser + self.activations + RUNTIME


@dataclass(frozen=True)
class Room:
    """Available bytes: of each GPU (None if tuning runs on the CPU), and of this node, which its workers share."""

    gpu: float | None
    node: float

    def holds(self, need: Need, section: Tuning, workers: int) -> bool:
        if self.gpu is None:
            return need.total <= self.node / workers
        host = need.optimiser if section.offload else 0.0
        return need.total - host <= self.gpu and host <= self.node / workers

    def per_worker(self, workers: int) -> float:
        return self.node / workers if self.gpu is None else self.gpu


def small_config(llm: LLM, n_items: int) -> LlamaConfig:
    """The configuration of `small` before its tokenizer exists: bytes, merges and words, and a token per item if asked."""
    from longtail.llm.prompts.words import WORDS
    from longtail.llm.small_llama import CONTEXT, HEAD_DIM, VOCABULARY

    hidden = HEAD_DIM * llm.size
    return LlamaConfig(
        vocab_size=VOCABULARY[llm.items] + len(WORDS) + (n_items if llm.items == "token" else 0),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=llm.size,
        num_attention_heads=llm.size,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )


def measure(config: PreTrainedConfig, adapt: Callable[[Any], Any]) -> Size:
    """Build the model without its weights (torch's meta device) and count its values. adapt: adds the adapters."""
    import torch

    with torch.device("meta"):
        model = adapt(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    text = config.get_text_config()
    hidden = text.hidden_size
    return Size(
        parameters=sum(one.numel() for one in model.parameters()),
        tuned=sum(one.numel() for one in model.parameters() if one.requires_grad),
        layers=text.num_hidden_layers,
        hidden=hidden,
        inner=getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * hidden,
        vocabulary=text.vocab_size,
    )


def estimate(size: Size, section: Tuning, workers: int) -> Need:
    """Bytes that each of `workers` needs, by the formulas at the top of this module."""
    width = 2 if section.precision == "bf16" else 4
    state = 12 if section.precision == "bf16" else 12 if section.zero else 8

    def share(stage: int) -> float:
        return 1 / workers if section.zero >= stage else 1.0

    whole = min(LIVE, size.parameters // PARTS) if share(3) < 1 else 0
    bucket = min(BUCKET, size.tuned // (PARTS if section.zero == 3 else 1)) if section.zero else 0
    values = 18 * size.hidden + 5 * size.inner
    kept = values + size.hidden * size.layers if section.gradient_checkpointing else values * size.layers
    return Need(
        weights=width * (size.parameters * share(3) + whole),
        gradients=width * (size.tuned * share(2) + bucket),
        optimiser=state * size.tuned * share(1),
        activations=section.micro_tokens * (width * kept + 2 * 4 * size.vocabulary),
    )


def room(recipe: Recipe) -> Room | None:
    """The memory that the workers will have; None if they run on machines that this process cannot see."""
    import torch

    if os.environ.get("RAY_ADDRESS"):
        return None
    node = memory_left(psutil.virtual_memory().available)
    if recipe.resources.accelerator == "cpu":
        return Room(None, node)
    if not torch.cuda.is_available():
        return None
    cards = [torch.cuda.get_device_properties(one).total_memory for one in range(torch.cuda.device_count())]
    return Room(min(cards), node)


def check_memory(
    recipe: Recipe,
    role: str,
    config: PreTrainedConfig,
    n_items: int,
    workers: int,
    adapt: Callable[[Any, Tuning], Any],
) -> None:
    """Raise InputError if a worker needs more memory than available. The message names settings that would fit.

    config: of the base, with every new token counted. adapt: adds what a section asks for (LoRA).
    """
    section: Tuning = getattr(recipe, role)

    @lru_cache
    def size(lora: int) -> Size:
        return measure(config, lambda model: adapt(model, section.model_copy(update={"lora": lora})))

    need, have = estimate(size(section.lora), section, workers), room(recipe)
    if have is None:
        log.info(
            "%s: about %.1f GiB per worker; not compared with the cluster's memory", role, need.total / GIB
        )
        return
    if have.holds(need, section, workers):
        return
    told = (
        f"weights {_gib(need.weights)}, gradients {_gib(need.gradients)}, optimiser {_gib(need.optimiser)}, "
    )
    told += f"activations and logits {_gib(need.activations)}, process {_gib(RUNTIME)}"
    beginning = (
        f"{role}: tuning llm.base = {recipe.llm.base!r} needs about {_gib(need.total)} GiB per worker ({told}); "
        f"there are {_gib(have.per_worker(workers))} GiB for each of {workers}. "
    )

    def fits(changes: dict[str, Any]) -> bool:
        changed, among = _changed(section, workers, changes)
        return have.holds(estimate(size(changed.lora), changed, among), changed, among)

    tried = list(_frugal(recipe, role, config, workers, have))
    found = next((changes for changes in tried if fits(changes)), None)
    if found is not None:
        raise InputError(beginning + f"It would fit with {_named(_needed(found, fits), role)}.")
    changes = tried[-1] if tried else {}
    with_these = f" with {_named(changes, role)}" if changes else ""
    changed, among = _changed(section, workers, changes)
    if recipe.llm.base == "small":
        sizes = range(recipe.llm.size - 1, 0, -1)
        smaller = (recipe.llm.model_copy(update={"size": one}) for one in sizes)
        for llm in smaller:
            shape = measure(small_config(llm, n_items), lambda model: adapt(model, changed))
            if have.holds(estimate(shape, changed, among), changed, among):
                raise InputError(
                    beginning + f"The largest that would fit is llm.size: {llm.size}{with_these}."
                )
        raise InputError(beginning + f"No llm.size fits{with_these}: give it a machine with more memory.")
    frugal = estimate(size(changed.lora), changed, among)
    states = frugal.weights + frugal.gradients + frugal.optimiser
    left = have.per_worker(among) - frugal.activations - RUNTIME
    most = size(changed.lora).parameters * left / states
    raise InputError(
        beginning + f"No setting makes it fit; a base of about {_count(most)} parameters would{with_these}."
        if left > 0
        else beginning + f"Its logits alone do not fit, even{with_these}: choose a base with fewer tokens."
    )


def _frugal(
    recipe: Recipe, role: str, config: PreTrainedConfig, workers: int, have: Room
) -> Iterator[dict[str, Any]]:
    """Sets of changed settings, each with one more change than the last. The cheapest changes come first."""
    section: Tuning = getattr(recipe, role)
    changes: dict[str, Any] = {}
    for stage in (2, 3):
        if section.zero < stage:
            yield (changes := changes | {"zero": stage})
    if not section.gradient_checkpointing:
        yield (changes := changes | {"gradient_checkpointing": True})
    longest = getattr(config.get_text_config(), "max_position_embeddings", None) or section.context
    tokens = section.micro_tokens // 2
    while tokens >= min(section.context, longest):
        yield (changes := changes | {"micro_tokens": tokens})
        tokens //= 2
    if not section.lora and (recipe.llm.base != "small" or role == "discriminator"):
        yield (changes := changes | {"lora": LORA_RANK})
    # On a CPU, workers share the memory of the node, so fewer workers have more each.
    among = workers // 2 if have.gpu is None else workers * 2
    while 1 <= among <= MOST_WORKERS:
        yield (changes := changes | {"llm_workers": among})
        among = among // 2 if have.gpu is None else among * 2


def _needed(changes: dict[str, Any], fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The changes without those that are not needed to fit."""
    for name in list(changes):
        without = {other: value for other, value in changes.items() if other != name}
        if fits(without):
            changes = without
        elif name == "zero" and fits(changes | {"zero": 2}):
            changes = changes | {"zero": 2}
    return changes


def _changed(section: Tuning, workers: int, changes: dict[str, Any]) -> tuple[Tuning, int]:
    settings = {name: value for name, value in changes.items() if name != "llm_workers"}
    return section.model_copy(update=settings), changes.get("llm_workers", workers)


def _named(changes: dict[str, Any], role: str) -> str:
    rooms = {"llm_workers": "resources"}
    return ", ".join(
        f"{rooms.get(name, role)}.{name}: {str(value).lower()}" for name, value in changes.items()
    )


def _gib(count: float) -> str:
    return f"{count / GIB:.1f}" if count >= GIB / 10 else f"{count / GIB:.2g}"


def _count(parameters: float) -> str:
    return f"{parameters / 1e9:.1f} billion" if parameters >= 1e9 else f"{parameters / 1e6:.0f} million"
