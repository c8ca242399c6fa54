"""A Llama with random weights, and examples of random tokens, for the measurements of fine-tuning."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from longtail.llm.finetune.packing import attend_within_examples
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Shape:
    """`hidden` dimensions and `hidden // head` attention heads. One matrix embeds tokens and computes logits."""

    hidden: int
    layers: int
    vocabulary: int
    head: int = 64
    context: int = 2048


@dataclass(frozen=True)
class Lengths:
    """The number of tokens of an example: uniform from `shortest` to `longest`. The last `taught` are the answer."""

    shortest: int
    longest: int
    taught: int


def random_llama(shape: Shape, packed: bool = True, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A Llama with the same weights at every call. packed: attention stays within each example of a pack."""
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
    """Write one training file of `rows` examples, without validation. Returns `folder`.

    A third of the examples have loss weight 4, as long-tail targets have.
    """
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
