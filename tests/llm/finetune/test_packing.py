"""Packs: an example has the losses in a pack that it has alone, in a forward pass of transformers' own attention."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from longtail.data.item_words import TEXT_DIM
from longtail.errors import InputError
from longtail.llm.finetune.packing import Pack, attend_within_examples, token_losses
from longtail.llm.prompts.example import Example
from longtail.llm.small_llama import SmallLlama, build_tokenizer
from tests.llm.finetune.toys import CPU, WORDS, toy_model

LENGTHS = st.lists(st.integers(1, 24), min_size=1, max_size=9)


def examples_of(lengths: list[int], words: int = WORDS, seed: int = 0) -> list[Example]:
    """Random words, about a third of them not taught; even a first word may bear a weight, which means nothing."""
    rng = np.random.default_rng([seed, *lengths])
    return [
        Example(
            rng.integers(words, size=length).astype(np.int32),
            rng.choice([0.0, 1.0, 4.0], length).astype(np.float32),
        )
        for length in lengths
    ]


def pack_of(examples: list[Example]) -> Pack:
    return Pack.of(examples, CPU)


def shaken(model: nn.Module) -> nn.Module:
    """Weights far from zero, so that a token that is seen and should not be changes a loss."""
    torch.manual_seed(3)
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part) * 0.2)
    return model.eval()


@torch.no_grad()
def losses_alone(plain: nn.Module, example: Example) -> torch.Tensor:
    """Of the taught tokens of one example, by the book."""
    tokens = torch.from_numpy(example.tokens.astype(np.int64))
    taught = torch.from_numpy(example.weights[1:] > 0)
    logits = plain(input_ids=tokens[None]).logits[0, :-1]
    return functional.cross_entropy(logits, tokens[1:], reduction="none")[taught]


@pytest.fixture(scope="module")
def pairs(catalogue, tmp_path_factory) -> dict[str, SimpleNamespace]:
    """Models that attend within examples, and plain ones of the same weights."""
    llama = shaken(toy_model())
    plain = transformers.LlamaForCausalLM(llama.config)
    plain.set_attn_implementation("eager")
    plain.load_state_dict(llama.state_dict())
    tokenizer = build_tokenizer(catalogue, "token")
    text = np.random.default_rng(0).normal(size=(len(tokenizer), TEXT_DIM)).astype(np.float32)
    small = shaken(SmallLlama(tokenizer, 2, 0.0, text))
    attend_within_examples(small)
    folder = tmp_path_factory.mktemp("small")
    small.export().save_pretrained(folder)
    exported = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    return {
        "grouped heads": SimpleNamespace(packed=llama, plain=plain.eval(), words=WORDS),
        "small": SimpleNamespace(packed=small, plain=exported.eval(), words=len(tokenizer)),
    }


@pytest.mark.parametrize("kind", ["grouped heads", "small"])
@settings(max_examples=25)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_losses_in_a_pack_equal_those_of_each_example_alone(pairs, kind, lengths, seed):
    pair = pairs[kind]
    examples = examples_of(lengths, pair.words, seed)
    with torch.no_grad():
        packed = token_losses(pair.packed, pack_of(examples))
    alone = torch.cat([losses_alone(pair.plain, example) for example in examples])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(lengths=LENGTHS, seed=st.integers(0, 99), data=st.data())
def test_an_example_changes_no_losses_but_its_own(pairs, lengths, seed, data):
    model = pairs["grouped heads"].packed
    changed = data.draw(st.integers(0, len(lengths) - 1))
    examples = examples_of(lengths, seed=seed)
    other = list(examples)
    other[changed] = Example((examples[changed].tokens + 7) % WORDS, examples[changed].weights)
    owner = np.repeat(np.arange(len(lengths)), [int((one.weights[1:] > 0).sum()) for one in examples])
    with torch.no_grad():
        before, after = (token_losses(model, pack_of(some)) for some in (examples, other))
    torch.testing.assert_close(before[owner != changed], after[owner != changed], rtol=1e-5, atol=1e-6)


@settings(max_examples=50)
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_a_pack_predicts_each_taught_token_from_the_place_before_it(lengths, seed):
    examples = examples_of(lengths, seed=seed)
    pack = pack_of(examples)
    by_hand = [
        (int(one.tokens[place - 1]), place - 1, int(one.tokens[place]), float(one.weights[place]))
        for one in examples
        for place in range(1, len(one.tokens))
        if one.weights[place]
    ]
    taught = (pack.tokens[pack.taught], pack.positions[pack.taught], pack.targets, pack.weights)
    assert list(zip(*(column.tolist() for column in taught), strict=True)) == by_hand


def test_logits_are_made_at_taught_places_only(pairs):
    model, seen = pairs["grouped heads"].packed, []
    hook = model.lm_head.register_forward_hook(lambda module, given, logits: seen.append(tuple(logits.shape)))
    pack = pack_of(examples_of([9, 4, 15]))
    token_losses(model, pack)
    hook.remove()
    taught = len(pack.targets)
    assert seen == [(1, taught, WORDS)]
    assert 0 < taught < len(pack.tokens)


def test_an_empty_pack_costs_nothing_and_has_gradients_of_zero():
    model, pack = toy_model().train(), pack_of([])
    losses = token_losses(model, pack)
    assert losses.shape == (0,)
    (losses * pack.weights).sum().backward()
    # Zero, not absent: another worker waits for every gradient.
    for name, part in model.named_parameters():
        assert part.grad is not None, name
        assert not part.grad.any(), name


def test_an_example_that_teaches_nothing_changes_no_gradient():
    taught = examples_of([8, 5])
    mute = Example(np.arange(6, dtype=np.int32), np.zeros(6, np.float32))
    gradients = []
    for examples in (taught, [taught[0], mute, taught[1]]):
        model, pack = toy_model(), pack_of(examples)
        (token_losses(model, pack) * pack.weights).sum().backward()
        gradients.append([part.grad for part in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_attention_drops_out_in_training_and_only_there():
    model, pack = shaken(toy_model(dropout=0.5)), pack_of(examples_of([9, 4, 15, 15]))
    sure = token_losses(shaken(toy_model()), pack)
    torch.testing.assert_close(token_losses(model, pack), sure)
    model.train()
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(token_losses(model, pack))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], sure)


BODY = {
    "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
}  # fmt: skip
OF_GPT = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4}


@pytest.mark.parametrize(
    ("config", "model", "extra"),
    [
        ("Qwen3Config", "Qwen3ForCausalLM", {"head_dim": 8}),
        ("MistralConfig", "MistralForCausalLM", {"sliding_window": 4}),
        ("Gemma3TextConfig", "Gemma3ForCausalLM", {"head_dim": 8, "sliding_window": 5}),
        ("MixtralConfig", "MixtralForCausalLM", {"num_local_experts": 4}),
    ],
)
def test_other_families_attend_as_their_own_code_does(config, model, extra):
    """Sliding windows, norms of queries and experts: what a Llama has not."""
    model = getattr(transformers, model)(getattr(transformers, config)(**BODY | extra))
    model.set_attn_implementation("eager")
    shaken(model)
    examples = examples_of([3, 9, 2, 8, 24])
    alone = torch.cat([losses_alone(model, example) for example in examples])
    attend_within_examples(model)
    with torch.no_grad():
        packed = token_losses(model, pack_of(examples))
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "model", "settings"),
    [
        ("BloomConfig", "BloomForCausalLM", {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
        ("GPTJConfig", "GPTJForCausalLM", OF_GPT | {"rotary_dim": 4}),
        ("MambaConfig", "MambaForCausalLM", {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2}),
        ("Lfm2Config", "Lfm2ForCausalLM", BODY | {"layer_types": ["conv", "full_attention"]}),
        ("Gemma2Config", "Gemma2ForCausalLM", BODY | {"head_dim": 8}),
    ],
)  # fmt: skip
def test_a_model_whose_examples_would_see_each_other_is_refused(config, model, settings):
    """Old code, recurrence, convolutions, capped scores: transformers would go on, and packs would be wrong unnoticed."""
    model = getattr(transformers, model)(getattr(transformers, config)(**settings))
    with pytest.raises(
        InputError, match=f"llm.base: {type(model).__name__} cannot be tuned on packed examples"
    ):
        attend_within_examples(model)
