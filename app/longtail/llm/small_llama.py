"""The built-in base model `small`: a tokenizer and a small Llama from scratch, without any download.

The vector of an item token is a free vector plus a learned linear map of the vector of its text. The export
adds both into one embedding matrix, so the result is a plain Llama.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import CausalLMOutput

from longtail.data.item_words import TEXT_DIM, item_words, word_vectors
from longtail.llm.prompts.item_text import BY_ID, item_texts
from longtail.llm.prompts.words import TEXTS, WORDS

CONTEXT = 512
HEAD_DIM = 32  # the smallest that vLLM's attention kernels support
VOCABULARY = {"token": 400, "title": 1024} | dict.fromkeys(BY_ID, 1024)
"""Most bytes and merges, for each rendering. With item tokens, only the instructions need them."""


def build_tokenizer(items: pa.Table, rendering: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the prompts and, if items are written as text, on the catalogue.

    Byte-level means that any text has tokens. With the `token` rendering every item is one added token.
    """
    texts = [*TEXTS] * 8
    if rendering != "token":
        texts += item_texts(items, rendering)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY[rendering],
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # single_word: inside a longer word of a title, these words are not answers and get no token.
    tokenizer.add_tokens([AddedToken(word, normalized=False, single_word=True) for word in WORDS])
    if rendering == "token":
        tokenizer.add_tokens([AddedToken(text, normalized=False) for text in item_texts(items, rendering)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=CONTEXT,
    )


def text_vectors(items: pa.Table, tokenizer: PreTrainedTokenizerFast, seed: int) -> np.ndarray:
    """The text vectors of the items at their tokens: float32 [vocabulary, TEXT_DIM]; zero for tokens that are no items."""
    vectors = np.zeros((len(tokenizer), TEXT_DIM), np.float32)
    vectors[tokenizer.convert_tokens_to_ids(item_texts(items, "token"))] = word_vectors(
        item_words(items), seed
    )
    return vectors


class SmallLlama(nn.Module):
    """A Llama whose embedding matrix, tied to its output, is free vectors plus a linear map of text vectors.

    size: number of layers and of heads; hidden size is 32 * size. dropout: of the embeddings and of the last states.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, size: int, dropout: float, text: np.ndarray
    ) -> None:
        super().__init__()
        hidden = HEAD_DIM * size
        self.config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 3,
            num_hidden_layers=size,
            num_attention_heads=size,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.dropout = dropout
        self.body = LlamaModel(self.config)
        self.body.embed_tokens = None
        self.embedding = _TextEmbedding(len(tokenizer), hidden, text)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        logits_to_keep: torch.Tensor,
        **attention: Any,
    ) -> CausalLMOutput:
        """input_ids, position_ids int64 [batch, length], logits_to_keep int64 [kept] -> logits [batch, kept, vocabulary]."""
        matrix = self.embedding()
        embedded = self._drop(functional.embedding(input_ids, matrix))
        states = self.body(inputs_embeds=embedded, position_ids=position_ids, **attention).last_hidden_state
        return CausalLMOutput(logits=self._drop(states[:, logits_to_keep]) @ matrix.T)

    def _drop(self, values: torch.Tensor) -> torch.Tensor:
        return functional.dropout(values, self.dropout, self.training)

    def set_attn_implementation(self, name: str) -> None:
        self.body.set_attn_implementation(name)

    @torch.no_grad()
    def export(self) -> LlamaForCausalLM:
        """The same model as a plain Llama, with free vectors and mapped text vectors added up."""
        plain = LlamaForCausalLM(LlamaConfig.from_dict(self.config.to_dict()))
        plain.model.load_state_dict(self.body.state_dict(), strict=False)
        plain.model.embed_tokens.weight.copy_(self.embedding())
        plain.tie_weights()
        return plain


class _TextEmbedding(nn.Module):
    def __init__(self, vocabulary: int, hidden: int, text: np.ndarray) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.randn(vocabulary, hidden) * 0.02)
        self.map = nn.Linear(text.shape[1], hidden, bias=False)
        nn.init.normal_(self.map.weight, std=0.02 / text.shape[1] ** 0.5)
        self.register_buffer("text", torch.from_numpy(text), persistent=False)

    def forward(self) -> torch.Tensor:
        return self.free + self.map(self.text)
