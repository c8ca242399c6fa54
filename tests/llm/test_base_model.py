"""The base model: bad ones are named before anything runs, item tokens start as their titles, exports answer alike."""

import json
import logging

import pyarrow.fs as pafs
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from longtail.errors import InputError
from longtail.llm.base_model import check_base, export_model, load_model, write_base
from longtail.llm.prompts.item_text import item_texts
from longtail.recipe import Discriminator, Generator, Recipe
from longtail.workspace.place import Place

ROWS = 400  # more than the tokenizer knows, as Qwen's


def tokenizer_of(texts, words=(" Yes", " No", " A", " B"), **special):
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    own.train_from_iterator([*texts, *words * 9], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=own, **special)


def shape(kind=LlamaConfig, **changes):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return kind(
        **sizes
        | {"num_key_value_heads": 1, "vocab_size": ROWS, "bos_token_id": 0, "eos_token_id": 0}
        | changes
    )


@pytest.fixture
def base(tmp_path, catalogue):
    """Writes a random base into a folder: base(config, dtype)."""

    def write(config=None, dtype=torch.float32, name="base"):
        torch.manual_seed(1)
        folder = tmp_path / name
        AutoModelForCausalLM.from_config(config or shape(), dtype=dtype).save_pretrained(folder)
        tokenizer_of(item_texts(catalogue, "title"), eos_token="</s>").save_pretrained(folder)
        return folder

    return write


def recipe_of(folder, items="token", **sections):
    given = {"generator": {}, "discriminator": {}} | sections
    return Recipe.model_validate({"name": "t", "llm": {"base": str(folder), "items": items}} | given)


def local(folder) -> Place:
    return Place(pafs.LocalFileSystem(), str(folder))


# What starts


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_new_item_tokens_are_the_mean_of_their_titles(base, catalogue, tmp_path, kind, tied, dtype):
    folder = base(shape(kind, tie_word_embeddings=tied), dtype)
    place = write_base(recipe_of(folder), catalogue, local(tmp_path / "new"))
    old, new = (AutoModelForCausalLM.from_pretrained(one, dtype="auto") for one in (folder, place.path))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    written = AutoTokenizer.from_pretrained(place.path)
    assert new.dtype == dtype and new.config.tie_word_embeddings == tied
    assert new.get_input_embeddings().num_embeddings >= len(written)
    for code, title in enumerate(item_texts(catalogue, "title")):
        ids = tokenizer(title)["input_ids"]
        (row,) = written(f"<item_{code}>", add_special_tokens=False)["input_ids"]
        for before, after in (
            (old.get_input_embeddings(), new.get_input_embeddings()),
            (old.get_output_embeddings(), new.get_output_embeddings()),
        ):
            mean = torch.stack([before.weight[one].float() for one in ids]).mean(0)
            assert torch.allclose(after.weight[row].float(), mean.to(dtype).float(), atol=1e-6)
    known = len(tokenizer)
    assert torch.equal(old.get_input_embeddings().weight[:known], new.get_input_embeddings().weight[:known])


def test_titles_leave_a_pretrained_model_as_it_is(base, catalogue, tmp_path):
    folder = base()
    place = write_base(recipe_of(folder, "title"), catalogue, local(tmp_path / "new"))
    old, new = (AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (folder, place.path))
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("knows", [True, False])
def test_the_small_model_knows_texts_only_if_it_may(catalogue, tmp_path, knows):
    recipe = Recipe.model_validate({"name": "t", "llm": {"text": knows}})
    start = write_base(recipe, catalogue, local(tmp_path / "start"))
    tokenizer = AutoTokenizer.from_pretrained(start.path)
    model = load_model(start.path, recipe.llm, recipe.generator, "generator", catalogue, 3, tokenizer)
    assert bool(model.embedding.text.any()) == knows


# What comes out


def adapted(base, catalogue, tmp_path, config, **settings):
    recipe = recipe_of(base(config), generator={"lora": 4} | settings)
    start = write_base(recipe, catalogue, local(tmp_path / "start"))
    tokenizer = AutoTokenizer.from_pretrained(start.path)
    model = load_model(start.path, recipe.llm, recipe.generator, "generator", catalogue, 3, tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return recipe, start, tokenizer, model.eval()


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config])
@pytest.mark.parametrize("tied", [True, False])
def test_merged_model_and_kept_adapter_answer_as_the_tuned_one(base, catalogue, tmp_path, kind, tied):
    from peft import PeftModel

    recipe, start, tokenizer, model = adapted(
        base, catalogue, tmp_path, shape(kind, vocab_size=301, tie_word_embeddings=tied)
    )
    ids = torch.randint(0, len(tokenizer), (2, 12))
    with torch.no_grad():
        tuned = model(ids).logits
        untuned = AutoModelForCausalLM.from_pretrained(start.path).eval()(ids).logits
        export_model(model, tokenizer, local(tmp_path / "out"))
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
        published = AutoModelForCausalLM.from_pretrained(recipe.llm.base)
        published.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        on_base = PeftModel.from_pretrained(published, str(tmp_path / "out" / "adapter")).eval()
        assert torch.allclose(merged(ids).logits, tuned, atol=1e-4)
        assert torch.allclose(on_base(ids).logits, tuned, atol=1e-4)
    assert (untuned - tuned).abs().max() > 0.1
    assert merged.config.tie_word_embeddings == tied


def test_export_is_safetensors_with_padding_and_names_no_folder_of_this_machine(base, catalogue, tmp_path):
    recipe, _, tokenizer, model = adapted(base, catalogue, tmp_path, shape())
    assert tokenizer.pad_token is None
    export_model(model, tokenizer, local(tmp_path / "out"))
    files = local(tmp_path / "out").files()
    names = {file.path.removeprefix(f"{tmp_path}/out/") for file in files}
    assert {"model.safetensors", "adapter/adapter_model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token == "</s>"
    assert (
        AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.pad_token_id == tokenizer.eos_token_id
    )
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert config.pop("base_model_name_or_path") == recipe.llm.base
    told = [file.read_bytes().decode() for file in files if file.name.endswith(".json")]
    told = [text for text in told if "base_model_name_or_path" not in text] + [json.dumps(config)]
    assert not [text for text in told if str(tmp_path) in text or "/tmp/" in text]


@pytest.mark.parametrize("items", ["token", "title"])
def test_small_is_exported_as_a_plain_llama(catalogue, tmp_path, items):
    recipe = Recipe.model_validate({"name": "t", "llm": {"items": items}})
    start = write_base(recipe, catalogue, local(tmp_path / "start"))
    tokenizer = AutoTokenizer.from_pretrained(start.path)
    one, other = (
        load_model(start.path, recipe.llm, recipe.generator, "generator", catalogue, 3, tokenizer)
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    ids, places = torch.randint(0, len(tokenizer), (1, 9)), torch.arange(9)
    with torch.no_grad():
        tuned = one.eval()(input_ids=ids, position_ids=places[None], logits_to_keep=places).logits
        export_model(one, tokenizer, local(tmp_path / "out"))
        exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()(ids).logits
    assert torch.allclose(tuned, exported, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("lora", [0, 4])
def test_checkpointed_layers_get_gradients_in_the_precision_asked_for(
    base, catalogue, tmp_path, precision, lora
):
    folder = base(dtype=torch.bfloat16)
    section = Discriminator(precision=precision, lora=lora, gradient_checkpointing=True)
    llm = recipe_of(folder, "title").llm
    model = load_model(folder, llm, section, "discriminator", catalogue, 3, None).train()
    wanted = torch.bfloat16 if precision == "bf16" else torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {wanted}
    model(torch.randint(0, 99, (1, 8)), use_cache=False).logits.float().square().mean().backward()
    trained = {name: part for name, part in model.named_parameters() if part.requires_grad}
    assert all(part.grad is not None for part in trained.values())
    assert all(("lora_" in name) == bool(lora) for name in trained)


def test_rank_and_alpha_are_the_recipes(base, catalogue):
    folder = base()
    for given, alpha in ((0, 16), (32, 32)):
        section = Generator(lora=8, lora_alpha=given)
        model = load_model(folder, recipe_of(folder, "title").llm, section, "generator", catalogue, 3, None)
        assert (model.active_peft_config.r, model.active_peft_config.lora_alpha) == (8, alpha)


# What is refused


def refuses(recipe, *words, role="generator"):
    with pytest.raises(InputError) as fault:
        check_base(recipe, role, 40, 2)
    assert all(word in str(fault.value) for word in words), str(fault.value)


def test_a_usable_base_passes_and_a_missing_chat_template_is_told(base, caplog):
    with caplog.at_level(logging.INFO, "longtail"):
        for role in ("generator", "discriminator"):
            check_base(recipe_of(base()), role, 40, 2)
    assert sum("no chat template" in record.message for record in caplog.records) == 1


def test_small_passes_with_a_context_longer_than_its_own():
    check_base(Recipe(name="t"), "generator", 40, 2)


def test_no_such_folder_is_named(tmp_path):
    refuses(recipe_of(tmp_path / "nowhere"), "nowhere", "no such model folder")


def test_pickled_weights_are_refused(base):
    folder = base()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refuses(recipe_of(folder), str(folder), "pickle", "save_pretrained")


def test_another_kind_of_model_is_refused(base):
    folder = base()
    tiny = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=ROWS, **tiny)).save_pretrained(folder)
    refuses(recipe_of(folder), "BertForMaskedLM", "not a causal language model")


def test_attention_that_cannot_be_replaced_is_refused(base):
    folder = base(BloomConfig(vocab_size=ROWS, hidden_size=32, n_layer=1, n_head=2))
    refuses(recipe_of(folder), "BloomForCausalLM", "packed")


def test_a_base_without_a_tokenizer_is_refused(base):
    folder = base()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    refuses(recipe_of(folder), str(folder), "tokenizer")


def test_a_tokenizer_without_an_end_is_refused(base, catalogue):
    folder = base()
    tokenizer_of(item_texts(catalogue, "title")).save_pretrained(folder)
    refuses(recipe_of(folder), "no end-of-text token", "eos_token")


def test_answers_of_several_tokens_are_refused(base, catalogue):
    folder = base()
    tokenizer_of(item_texts(catalogue, "title"), words=(), eos_token="</s>").save_pretrained(folder)
    refuses(recipe_of(folder), "llm.base", "' Yes'")


@pytest.mark.parametrize(
    "limit", [{"max_position_embeddings": 256}, {"sliding_window": 256, "kind": "mistral"}]
)
def test_a_context_longer_than_the_models_is_refused_with_both_numbers(base, limit):
    from transformers import MistralConfig

    config = (
        shape(MistralConfig, sliding_window=256, max_position_embeddings=4096)
        if "kind" in limit
        else shape(**limit)
    )
    folder = base(config)
    refuses(recipe_of(folder), "2048", "256", "generator.context: 256")
    check_base(recipe_of(folder, generator={"context": 256}), "generator", 40, 2)


def test_quantised_weights_are_refused(base):
    folder = base()
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    refuses(recipe_of(folder), "quantised")


def test_code_that_comes_with_a_model_is_not_run(base):
    folder = base()
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "configuration_own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_own.py").write_text("raise SystemExit('was run')")
    refuses(recipe_of(folder), str(folder), "code of its own")
