"""The base model: item tokens start as their titles, a GGUF becomes plain weights, exports answer alike."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config

from longtail.llm.base_model import export_model, load_model, write_base
from longtail.llm.prompts.item_text import item_texts
from longtail.recipe import Discriminator, Generator, Recipe
from tests.llm.bases import local, recipe_of, shape

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


@pytest.mark.parametrize("precision, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_gguf_becomes_plain_weights_in_the_precision_of_the_tuning(catalogue, tmp_path, precision, dtype):
    recipe = recipe_of("smollm2", "title", generator={"precision": precision})
    place = write_base(recipe, catalogue, local(tmp_path / "new"))
    model = AutoModelForCausalLM.from_pretrained(place.path, dtype="auto")
    assert model.dtype == dtype
    assert not getattr(model.config, "quantization_config", None)
    tokenizer = AutoTokenizer.from_pretrained(place.path)
    ids = torch.tensor([tokenizer("The capital of France is")["input_ids"]])
    assert "Paris" in tokenizer.decode(model.generate(ids, max_new_tokens=4, do_sample=False)[0])


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
