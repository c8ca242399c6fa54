"""A Llama of random weights and examples of random tokens: what the figures of fine-tuning are measured on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from longtail.llm.finetune.packing import attend_within_examples
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Shape:
    """hidden dimensions, `hidden // head` heads of attention; one matrix embeds tokens and makes logits."""

    hidden: int
    layers: int
    vocabulary: int
    head: int = 64
    context: int = 2048


@dataclass(frozen=True)
class Lengths:
    """Tokens of an example: uniform from `shortest` to `longest`, of which the last `taught` are the answer."""

    shortest: int
    longest: int
    taught: int


def random_llama(shape: Shape, packed: bool = True, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The same weights at every call; `packed`: attends within the examples of a pack."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=max(1, shape.hidden // shape.head),
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        dtype=dtype,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(dtype)
    if packed:
        attend_within_examples(model)
    return model


def random_examples(folder: Place, rows: int, lengths: Lengths, vocabulary: int) -> Place:
    """One training file of `rows` examples, a third of them of loss weight 4 as long-tail targets are; no validation."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(lengths.shortest, lengths.longest + 1, rows)
    tokens = [rng.integers(vocabulary, size=size, dtype=np.int32) for size in sizes]
    weights = [np.zeros(size, np.float32) for size in sizes]
    for row in weights:
        row[-lengths.taught :] = rng.choice([1.0, 1.0, 4.0])
    table = pa.table(
        {
            "user": pa.array(np.arange(rows), pa.int32()),
            "task": ["next_item"] * rows,
            "tokens": pa.array(tokens, pa.list_(pa.int32())),
            "weights": pa.array(weights, pa.list_(pa.float32())),
        }
    )
    (folder / "train" / "00000.parquet").write_table(table)
    return folder
