"""What a base model must be like to be tuned. What it is not is said before anything starts.

Only configuration and tokenizer are read. Code that comes with a model is never run.
"""

import inspect
import logging
from typing import Any

import pyarrow as pa

from longtail.errors import InputError, first_line
from longtail.llm.base_model import with_adapters
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.words import WORDS
from longtail.recipe import Recipe, Role, Tuning
from longtail.schema import ITEMS
from longtail.text.pretrained import Source, find

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
        source = find(recipe.llm.base, "llm.base")
        config = _config(recipe.llm.base, source)
        _check_architecture(recipe.llm.base, config)
        section: Tuning = getattr(recipe, role)
        _check_context(recipe.llm.base, config, role, section.context)
        tokenizer = _tokenizer(recipe.llm.base, source)
        room = min(section.context, tokenizer.model_max_length) - 1
        Prompts(tokenizer, ANY_ITEM, recipe.llm.items, section.history, room).check(section.tasks)
        if tokenizer.chat_template is None and role == "generator":
            log.info("llm.base = %s has no chat template; prompts are plain text anyway", recipe.llm.base)
        new = n_items if recipe.llm.items == "token" else 0
        text = config.get_text_config()
        text.vocab_size = max(text.vocab_size, len(tokenizer) + new)

    def adapt(model: Any, section: Tuning) -> Any:
        return with_adapters(model, recipe.llm, section, role)

    if getattr(recipe, role).epochs:
        check_memory(recipe, role, config, n_items, workers, adapt)


def _config(base: str, source: Source) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(**source.arguments)
        safe = bool(source.gguf) or any(_has(source.model, name) for name in WEIGHTS)
    except (OSError, ValueError) as error:
        raise InputError(
            f"llm.base = {base!r}: no such model folder or Hugging Face id, or it needs code of its own"
            f" ({first_line(error)})."
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
            " a model such as LlamaForCausalLM or Qwen2ForCausalLM, or smollm2. An encoder belongs in text.encoders."
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


def _tokenizer(base: str, source: Source) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(**source.arguments)
        words = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in WORDS}
    except Exception as error:  # any error from a tokenizer's files is a fault of the base
        raise InputError(f"llm.base = {base!r}: its tokenizer does not load ({first_line(error)}).") from None
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


def _has(base: str, name: str) -> bool:
    from transformers.utils.hub import has_file

    return has_file(base, name)
