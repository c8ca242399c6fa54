"""Bad bases are named before anything runs: by what they are, by what they lack, and with what to do."""

import json
import logging
import sys

import gguf
import numpy as np
import pytest
from transformers import BertConfig, BertForMaskedLM, BloomConfig

from longtail.errors import InputError
from longtail.llm.base_check import check_base
from longtail.llm.prompts.item_text import item_texts
from longtail.recipe import Recipe
from tests.llm.bases import ROWS, recipe_of, shape, tokenizer_of


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


# Models by name, and GGUF files


def test_smollm2_is_fit_for_both_roles_and_every_task(caplog):
    every = dict.fromkeys(("next_item", "id_list", "ranking", "yes_no", "preference"), 1.0)
    section = {"context": 512, "micro_tokens": 512, "lora": 8, "tasks": every}
    with caplog.at_level(logging.INFO, "longtail"):
        for role in ("generator", "discriminator"):
            check_base(recipe_of("smollm2", "title", generator=section, discriminator=section), role, 40, 1)
    assert not [record for record in caplog.records if "no chat template" in record.message]


def test_a_sentence_encoder_is_refused():
    refuses(recipe_of("minilm", "title"), "'minilm' is BertModel", "not a causal", "smollm2", "text.encoders")


def gguf_file(folder, architecture="llama", kind=gguf.GGMLQuantizationType.F32):
    """A GGUF file with a header and one tensor, as far as anything is read before the weights."""
    file = folder / "model.gguf"
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(1)
    writer.add_vocab_size(8)
    if kind == gguf.GGMLQuantizationType.F32:
        writer.add_tensor("token_embd.weight", np.zeros((8, 256), np.float32))
    else:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor("token_embd.weight", np.zeros((8, 256 // block * size), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_that_is_not_there(tmp_path):
    refuses(recipe_of(tmp_path / "none.gguf"), "llm.base", "none.gguf", "no such file")


def test_a_gguf_of_an_architecture_that_transformers_does_not_know(tmp_path):
    refuses(
        recipe_of(gguf_file(tmp_path, "rwkv6")), "model.gguf", "cannot dequantise", "rwkv6", "Hugging Face id"
    )


def test_a_gguf_of_weights_that_cannot_be_dequantised(tmp_path):
    unheard = gguf.GGMLQuantizationType.Q8_K
    refuses(
        recipe_of(gguf_file(tmp_path, kind=unheard)),
        "model.gguf",
        "Q8_K",
        "cannot dequantise",
        "Hugging Face id",
    )


@pytest.mark.parametrize("keep", [0, 3, 40, -64])
def test_a_gguf_that_is_cut_off(tmp_path, keep):
    file = gguf_file(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    refuses(recipe_of(file), "llm.base", "model.gguf", "not a whole GGUF file")


def test_a_gguf_without_a_tokenizer(tmp_path):
    refuses(recipe_of(gguf_file(tmp_path), "title"), "model.gguf", "tokenizer does not load")


def test_a_gguf_without_the_package_that_reads_it(tmp_path, monkeypatch):
    file = gguf_file(tmp_path)
    monkeypatch.setitem(sys.modules, "gguf", None)
    refuses(recipe_of(file), "model.gguf", "pip install gguf")
