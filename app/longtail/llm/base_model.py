"""The base model that tuning starts from: write it as a plain folder, load it, and export it after tuning.

Weights are read and written as safetensors. Code that comes with a model is never run.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.llm.prompts.item_text import item_texts
from longtail.recipe import LLM, Recipe, Role, Tuning
from longtail.text.pretrained import Source, find, hub_name
from longtail.workspace.place import Place


def write_base(recipe: Recipe, items: pa.Table, place: Place) -> Place:
    """Write the folder that the generator's tuning starts from into `place`. For `small` it holds only a tokenizer.

    items: rows of schema.ITEMS. A pretrained model keeps its dtype; a GGUF file is dequantised, in the precision that the
    generator is tuned in. A chat template stays with the tokenizer.
    """
    import torch
    from transformers import AutoTokenizer

    from longtail.llm.small_llama import build_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        if recipe.llm.base == "small":
            build_tokenizer(items, recipe.llm.items).save_pretrained(folder)
        else:
            source = find(recipe.llm.base, "llm.base")
            tokenizer = AutoTokenizer.from_pretrained(**source.arguments)
            model = _pretrained(source, dtype_of(recipe.generator))
            if recipe.llm.items == "token":
                with torch.no_grad():
                    _add_item_tokens(model, tokenizer, items)
            elif len(tokenizer) > model.get_input_embeddings().num_embeddings:
                model.resize_token_embeddings(len(tokenizer))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        place.upload(folder)
    return place


def load_model(
    folder: Path, llm: LLM, section: Tuning, role: Role, items: pa.Table, seed: int, tokenizer: Any
) -> Any:
    """The module to tune, from the folder that `write_base` wrote. The same seed gives the same weights in every worker."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    dtype = dtype_of(section)
    if role == "generator" and llm.base == "small":
        from longtail.llm.small_llama import SmallLlama, text_vectors

        knows = llm.items == "token" and llm.text
        text = text_vectors(items, tokenizer, seed) if knows else np.zeros((len(tokenizer), 1), np.float32)
        model = SmallLlama(tokenizer, llm.size, llm.dropout, text).to(dtype)
        network = model.body
    else:
        network = model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    if section.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
        if section.lora:
            model.enable_input_require_grads()
    return with_adapters(model, llm, section, role)


def with_adapters(model: Any, llm: LLM, section: Tuning, role: Role) -> Any:
    """The model with LoRA on every linear layer if the section asks for it, else the model unchanged.

    New item tokens have no pretrained weights to adapt, so the embeddings (and an untied head) are tuned in full.
    """
    if not section.lora:
        return model
    from peft import LoraConfig, get_peft_model

    whole = []
    if role == "generator" and llm.items == "token":
        tied = model.config.get_text_config().tie_word_embeddings
        layers = [model.get_input_embeddings()] + ([] if tied else [model.get_output_embeddings()])
        whole = [
            name.rsplit(".", 1)[-1]
            for name, module in model.named_modules()
            if any(module is one for one in layers)
        ]
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=section.lora,
            lora_alpha=section.lora_alpha or 2 * section.lora,
            target_modules="all-linear",
            modules_to_save=whole or None,
            ensure_weight_tying=bool(whole) and tied,
            task_type="CAUSAL_LM",
        ),
        autocast_adapter_dtype=False,
    )
    # By default peft names the folder that the weights were read from, which no longer exists after tuning.
    start = hub_name(llm.base) if role == "generator" else "llm/generator"
    adapted.active_peft_config.base_model_name_or_path = start
    return adapted


def export_model(model: Any, tokenizer: Any, place: Place) -> None:
    """Write a tuned model as a plain Hugging Face folder. Adapters are merged, and also kept in `adapter/`.

    `small` becomes a plain Llama (see `SmallLlama.export`). Merging changes `model`. If the
    tokenizer has no padding token, the end-of-text token is used.
    """
    from longtail.llm.small_llama import SmallLlama

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(model, SmallLlama):
            model = model.export()
        elif hasattr(model, "merge_and_unload"):
            adapter = Path(folder) / "adapter"
            # `modules_to_save` has the embeddings that were tuned; to check others, peft would query the hub.
            model.save_pretrained(adapter, save_embedding_layers=False)
            (adapter / "README.md").unlink(missing_ok=True)
            model = model.merge_and_unload()
        model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        place.upload(folder)


def dtype_of(section: Tuning) -> Any:
    """The torch.dtype of a section's precision."""
    import torch

    return torch.bfloat16 if section.precision == "bf16" else torch.float32


def _pretrained(source: Source, dtype: Any) -> Any:
    """The model in the dtype that it was saved in; from a GGUF file as plain weights of `dtype`."""
    from transformers import AutoModelForCausalLM, GgufConfig

    if not source.gguf:
        return AutoModelForCausalLM.from_pretrained(**source.arguments, dtype="auto", use_safetensors=True)
    # Without this, transformers keeps the weights in the blocks of the file, which can neither be tuned nor saved.
    plain = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(**source.arguments, dtype=dtype, quantization_config=plain)


def _add_item_tokens(model: Any, tokenizer: Any, items: pa.Table) -> None:
    """Add one token per item. Its rows in the embeddings, and in an untied head, are the mean of its title's rows."""
    import torch
    from tokenizers import AddedToken

    tokens = item_texts(items, "token")
    pieces = tokenizer(item_texts(items, "title"), add_special_tokens=False)["input_ids"]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = tokenizer.convert_tokens_to_ids(tokens)
    for matrix in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
        for row, piece in zip(rows, pieces, strict=True):
            matrix[row] = (matrix[torch.tensor(piece)].float() if piece else matrix.float()).mean(0)
