"""Small pretrained bases: a tokenizer, the shape of a random model, and a recipe that starts from a folder."""

import pyarrow.fs as pafs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from longtail.recipe import Recipe
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


def recipe_of(folder, items="token", **sections):
    given = {"generator": {}, "discriminator": {}} | sections
    return Recipe.model_validate({"name": "t", "llm": {"base": str(folder), "items": items}} | given)


def local(folder) -> Place:
    return Place(pafs.LocalFileSystem(), str(folder))
