"""Memory: the estimate is ZeRO's arithmetic, is not below what autograd keeps, and what it advises does fit."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

from longtail.errors import InputError
from longtail.llm import memory_estimate as memory
from longtail.llm.base_model import with_adapters
from longtail.llm.memory_estimate import (
    GIB,
    RUNTIME,
    Room,
    Size,
    check_memory,
    estimate,
    measure,
    small_config,
)
from longtail.llm.prompts.example import Example
from longtail.recipe import LLM, Recipe, Tuning

BILLION = 10**9
SEVEN = Size(7 * BILLION, 7 * BILLION, layers=32, hidden=4096, inner=11008, vocabulary=32000)


def states(section: Tuning, workers: int, size: Size = SEVEN) -> float:
    """Bytes for each parameter, without what DeepSpeed gathers and sends."""
    need = estimate(size, section, workers)
    width = 2 if section.precision == "bf16" else 4
    whole = min(memory.LIVE, size.parameters // memory.PARTS)
    passing = memory.BUCKET * bool(section.zero) + whole * (section.zero == 3 and workers > 1)
    return (need.weights + need.gradients + need.optimiser - width * passing) / size.parameters


@pytest.mark.parametrize(
    ("zero", "bytes_each"), [(0, 16), (1, 2 + 2 + 12 / 64), (2, 2 + 14 / 64), (3, 16 / 64)]
)
def test_bf16_states_are_those_of_the_zero_paper(zero, bytes_each):
    """1910.02054, figure 1: 7.5B parameters on 64 GPUs take 120, 31.4, 16.6 and 1.9 GB."""
    assert states(Tuning(precision="bf16", zero=zero), 64) == pytest.approx(bytes_each)


def test_fp32_states_have_a_copy_under_zero_only():
    assert states(Tuning(zero=0), 4) == pytest.approx(4 + 4 + 8)
    assert states(Tuning(zero=1), 1) == pytest.approx(4 + 4 + 12)


@given(
    zero=st.integers(0, 2),
    workers=st.integers(1, 64),
    tokens=st.integers(1, 10**5),
    precision=st.sampled_from(["fp32", "bf16"]),
    checkpointing=st.booleans(),
)
def test_what_is_said_to_save_memory_never_costs_any(zero, workers, tokens, precision, checkpointing):
    section = Tuning(
        zero=zero, micro_tokens=tokens, precision=precision, gradient_checkpointing=checkpointing
    )
    whole = estimate(SEVEN, section, workers).total
    fewer = section.model_copy(update={"micro_tokens": max(1, tokens // 2)})
    less = section.model_copy(update={"gradient_checkpointing": True})
    assert estimate(SEVEN, fewer, workers).total <= whole
    assert estimate(SEVEN, less, workers).total <= whole
    assert estimate(SEVEN, section, workers + 1).total <= whole


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, GPT2Config])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_bounded_by_the_estimate_and_not_by_far(precision, kind, checkpointing):
    """Against what autograd really keeps of a packed forward pass in which every token is taught."""
    from longtail.llm.finetune.packing import Pack, attend_within_examples, token_losses

    names = (
        {"n_embd": 128, "n_layer": 6, "n_head": 4, "attn_pdrop": 0.0}  # dropout of scores keeps the scores
        if kind is GPT2Config
        else {
            "hidden_size": 128,
            "intermediate_size": 352,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
        }
    )
    config = kind(vocab_size=500, bos_token_id=0, eos_token_id=0, **names)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    attend_within_examples(model)
    rng = np.random.default_rng(0)
    lengths = rng.integers(30, 60, 20)
    pack = Pack.of(
        [Example(rng.integers(0, 500, n).astype(np.int32), np.ones(n, np.float32)) for n in lengths],
        torch.device("cpu"),
    )
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = token_losses(model, pack)
    section = Tuning(
        precision=precision, micro_tokens=int(lengths.sum()), gradient_checkpointing=checkpointing
    )
    size = measure(config, lambda model: model)
    need = estimate(size, section, 1).activations
    assert losses.numel() and sum(kept.values()) < need < (12 if checkpointing else 2.5) * sum(kept.values())


def test_adapters_and_new_tokens_are_counted():
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=100
    )
    whole = measure(config, lambda model: model)
    llm = LLM(base="x/y", items="title")
    lora = measure(config, lambda model: with_adapters(model, llm, Tuning(lora=4), "generator"))
    linear = 4 * (32 + 32) + 3 * (32 + 64)  # q, k, v, o and gate, up, down
    assert whole.tuned == whole.parameters
    assert lora.tuned == 2 * 4 * linear and lora.parameters == whole.parameters + lora.tuned
    llm = LLM(base="x/y", items="token")
    tokens = measure(config, lambda model: with_adapters(model, llm, Tuning(lora=4), "generator"))
    assert tokens.tuned == lora.tuned + 2 * 100 * 32  # embeddings and head are tuned whole


def test_small_is_counted_as_it_is_built(catalogue):
    from longtail.llm.small_llama import SmallLlama, build_tokenizer

    for items in ("token", "title"):
        tokenizer = build_tokenizer(catalogue, items)
        built = SmallLlama(tokenizer, 3, 0.0, np.zeros((len(tokenizer), 1), np.float32))
        counted = measure(small_config(LLM(size=3, items=items), 40), lambda model: model)
        free = sum(one.numel() for one in built.parameters()) - built.embedding.map.weight.numel()
        assert free <= counted.parameters  # a small catalogue's titles do not fill the vocabulary
        assert items == "title" or counted.parameters == pytest.approx(free, rel=0.02)


# What is advised

SHAPE = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16}


def advice(monkeypatch, recipe, room, workers=2, config=None):
    """What check_memory says, where `room` is what there is; None where it fits."""
    monkeypatch.setattr(memory, "room", lambda _: room)
    config = config or LlamaConfig(**SHAPE, vocab_size=32000)

    def adapt(model, section):
        return with_adapters(model, recipe.llm, section, "generator")

    try:
        check_memory(recipe, "generator", config, 40, workers, adapt)
    except InputError as error:
        return str(error)
    return None


def recipe_of(**section):
    return Recipe.model_validate(
        {"name": "t", "llm": {"base": "x/y", "items": "title"}, "generator": section}
    )


def test_a_base_that_fits_says_nothing(monkeypatch):
    assert advice(monkeypatch, recipe_of(), Room(None, 64 * GIB)) is None


@settings(max_examples=15)
@given(gib=st.floats(1.5, 14), gpu=st.booleans(), precision=st.sampled_from(["fp32", "bf16"]))
def test_what_is_advised_fits(gib, gpu, precision):
    """Follow the advice, and the same check passes."""
    with pytest.MonkeyPatch.context() as patch:
        recipe, room = recipe_of(precision=precision), Room(gib * GIB if gpu else None, 2 * gib * GIB)
        told = advice(patch, recipe, room)
        if told is None or "It would fit" not in told:
            return
        changes = dict(re.findall(r"generator\.(\w+): (\w+)", told))
        workers = int((re.findall(r"resources\.llm_workers: (\d+)", told) or [2])[0])
        assert changes or workers != 2
        assert advice(patch, recipe_of(precision=precision, **changes), room, workers) is None


def test_only_what_is_needed_is_advised(monkeypatch):
    """Logits alone are too much: fewer tokens at a time is all it takes, whatever else would be tried first."""
    config = LlamaConfig(**SHAPE | {"num_hidden_layers": 1}, vocab_size=150_000)
    told = advice(monkeypatch, recipe_of(zero=3), Room(None, 26 * GIB), config=config)
    assert told.endswith("It would fit with generator.micro_tokens: 4096.")
    assert "26.0" not in told and "13.0 GiB" in told and "'x/y'" in told


def test_the_largest_base_is_named_where_nothing_fits(monkeypatch):
    told = advice(monkeypatch, recipe_of(context=256), Room(None, 1.5 * GIB))
    assert "No setting makes it fit" in told and "million parameters" in told and "generator.lora: 16" in told


def test_the_largest_small_is_named_and_fits(monkeypatch):
    def given_size(size):
        return Recipe.model_validate({"name": "t", "llm": {"size": size}, "generator": {"context": 256}})

    recipe, room = given_size(60), Room(None, 2 * GIB)
    told = advice(monkeypatch, recipe, room, config=small_config(recipe.llm, 40))
    assert "The largest that would fit is llm.size: " in told
    size = int(told.split("llm.size: ")[1].split()[0].rstrip("."))
    assert 1 < size < 60


def test_offloaded_state_is_the_nodes_matter():
    section = Tuning(precision="bf16", offload=True, zero=1)
    need = estimate(SEVEN, section, 2)
    host = need.optimiser
    assert Room(need.total - host, 2 * host).holds(need, section, 2)
    assert not Room(need.total - host, 1.9 * host).holds(need, section, 2)
    assert not Room(need.total - host, 2 * host).holds(need, Tuning(precision="bf16"), 2)


def test_workers_on_other_machines_are_not_judged_by_this_one(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert memory.room(recipe_of()) is None
    monkeypatch.delenv("RAY_ADDRESS")
    here = memory.room(recipe_of())
    assert here.gpu is None and here.node > RUNTIME
