"""The base model that tuning starts from: check it, add the item tokens, load it, and export it after tuning.

Weights are read and written as safetensors. Code that comes with a model is never run.
"""

import inspect
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import item_texts
from longtail.llm.prompts.words import WORDS
from longtail.recipe import LLM, Recipe, Role, Tuning
from longtail.schema import ITEMS
from longtail.workspace.place import Place

log = logging.getLogger("longtail")

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
ANY_ITEM = pa.Table.from_pylist([{"item": 0, "item_id": "0", "attributes": []}], ITEMS)
"""A catalogue of one item, to check prompts with before the data are read."""


def check_base(recipe: Recipe, role: Role, n_items: int, workers: int) -> None:
    """Raise InputError if the base cannot be tuned as the recipe says, or does not fit in a worker's memory.

    It reads only configuration and tokenizer, so it is cheap. Call it before Ray starts.
    """
    from longtail.llm.memory_estimate import check_memory, small_config

    if recipe.llm.base == "small":
        config = small_config(recipe.llm, n_items)
    else:
        config = _config(recipe.llm.base)
        _check_architecture(recipe.llm.base, config)
        section: Tuning = getattr(recipe, role)
        _check_context(recipe.llm.base, config, role, section.context)
        tokenizer = _tokenizer(recipe.llm.base)
        room = min(section.context, tokenizer.model_max_length) - 1
        Prompts(tokenizer, ANY_ITEM, recipe.llm.items, section.history, room).check(section.tasks)
        if tokenizer.chat_template is None and role == "generator":
            log.info("llm.base = %s has no chat template; prompts are plain text anyway", recipe.llm.base)
        new = n_items if recipe.llm.items == "token" else 0
        text = config.get_text_config()
        text.vocab_size = max(text.vocab_size, len(tokenizer) + new)

    def adapt(model: Any, section: Tuning) -> Any:
        return with_adapters(model, recipe.llm, section, role)

    check_memory(recipe, role, config, n_items, workers, adapt)


def write_base(recipe: Recipe, items: pa.Table, place: Place) -> Place:
    """Write the folder that the generator's tuning starts from into `place`. For `small` it holds only a tokenizer.

    items: rows of schema.ITEMS. A pretrained model keeps its dtype.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from longtail.llm.small_llama import build_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        if recipe.llm.base == "small":
            build_tokenizer(items, recipe.llm.items).save_pretrained(folder)
        else:
            tokenizer = _tokenizer(recipe.llm.base)
            model = AutoModelForCausalLM.from_pretrained(
                recipe.llm.base, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
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
    dtype = torch.bfloat16 if section.precision == "bf16" else torch.float32
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
    adapted.active_peft_config.base_model_name_or_path = llm.base if role == "generator" else "llm/generator"
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


def _config(base: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        safe = any(_has(base, name) for name in WEIGHTS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"llm.base = {base!r}: no such model folder or Hugging Face id, or it needs code of its own"
            f" ({_first_line(error)})."
        ) from None
    if not safe:
        raise InputError(
            f"llm.base = {base!r} has no {WEIGHTS[0]}; weights in pickle format (.bin, .pt) are not loaded. If you trust"
            " them, load them once with transformers; save_pretrained() then writes safetensors."
        )
    return config


def _check_architecture(base: str, config: Any) -> None:
    """Raise InputError if it is no causal LM, or its attention cannot be replaced to keep packed examples apart."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    known = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    declared = getattr(config, "architectures", None)
    if known is None or (declared and known.__name__ not in declared):
        raise InputError(
            f"llm.base = {base!r} is {' or '.join(declared or [config.model_type])}, not a causal language model; choose"
            " a model such as LlamaForCausalLM or Qwen2ForCausalLM."
        )
    if getattr(config, "quantization_config", None):
        raise InputError(f"llm.base = {base!r} is quantised and cannot be tuned; choose its full weights.")
    taken = inspect.signature(known.forward).parameters
    text = config.get_text_config()
    capped = getattr(text, "attn_logit_softcapping", None)
    plain = {"position_ids", "logits_to_keep", "kwargs"} <= set(taken) and not capped
    if not plain or known._is_stateful or not known._supports_attention_backend:
        raise InputError(
            f"llm.base = {base!r}: {known.__name__} cannot be tuned on packed examples, because its attention is not a"
            " plain softmax that can be replaced; choose a model such as Llama, Qwen or Mistral."
        )


def _check_context(base: str, config: Any, role: Role, context: int) -> None:
    text = config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None)
    if longest and context > longest:
        raise InputError(
            f"{role}.context = {context} is longer than the {longest} positions (max_position_embeddings) of"
            f" llm.base = {base!r}; set {role}.context: {longest}."
        )
    window = getattr(text, "sliding_window", None)
    if window and context > window:
        raise InputError(
            f"{role}.context = {context} is longer than the attention window of {window} tokens (sliding_window) of"
            f" llm.base = {base!r}; set {role}.context: {window}."
        )


def _tokenizer(base: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        words = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in WORDS}
    except Exception as error:  # any error from a tokenizer's files is a fault of the base
        raise InputError(
            f"llm.base = {base!r}: its tokenizer does not load ({_first_line(error)})."
        ) from None
    if not all(words.values()):
        raise InputError(
            f"llm.base = {base!r}: its tokenizer writes {WORDS[0]!r} as no tokens, so its files are missing or empty;"
            " put tokenizer.json and tokenizer_config.json beside the weights."
        )
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"llm.base = {base!r}: its tokenizer has no end-of-text token; name one as eos_token in tokenizer_config.json."
        )
    return tokenizer


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


def _has(base: str, name: str) -> bool:
    from transformers.utils.hub import has_file

    return has_file(base, name)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
