"""Vectors of texts by a pretrained model: the mean over the tokens of a text of what the model makes of each.

A sentence encoder gives its last layer, which was trained for that. A causal LM gives a middle layer: its last ones are
about the next word. What comes out is raw, see `longtail.text.whitening`.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from longtail.errors import InputError, first_line
from longtail.text.pretrained import Source

AT_ONCE = 32
"""Texts in one pass of the model."""
LONGEST = 128
"""Tokens of a text that are read; titles and attributes have some 20."""
LAST = -1
"""The hidden states of an encoder that are read. Of a causal LM it is a layer in the middle."""


class Encoder:
    """A Ray Data actor: from a table with `item` and `text` to one with `item`, `vector` (list of float32) and `tokens`.

    A text without tokens gets an empty vector.
    """

    def __init__(self, source: Source, setting: str, use_gpu: bool = False) -> None:
        """Raises InputError, which names `setting`, if the model or its tokenizer cannot be loaded."""
        import torch

        self.torch = torch
        self.device = torch.device("cuda" if use_gpu else "cpu")
        self.tokenizer = _loaded(source, setting)
        self.model, self.layer = _cut(source, setting)
        self.model.to(self.device).eval()
        self.before = [] if self.layer == LAST else _sink(self.tokenizer)

    def __call__(self, batch: pa.Table) -> pa.Table:
        vectors, lengths = self.encode(batch["text"].to_pylist())
        return pa.table(
            {
                "item": batch["item"],
                "vector": pa.array(vectors, pa.list_(pa.float32())),
                "tokens": pa.array(lengths, pa.int32()),
            }
        )

    def encode(self, texts: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """The vector of each text, float32 [width], or [0] if the text has no token; and their numbers of tokens."""
        tokens = [
            [*self.before, *_without(own, self.before)[:LONGEST]] if text.strip() else []
            for text, own in zip(texts, self.tokenizer(texts)["input_ids"], strict=True)
        ]
        lengths = np.array([len(own) for own in tokens], np.int64)
        vectors = [np.zeros(0, np.float32)] * len(texts)
        # Texts of about the same length share a pass, so that little of it is padding.
        order = np.argsort(lengths, kind="stable")[int((lengths == 0).sum()) :]
        for start in range(0, len(order), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            for row, vector in zip(rows, self._pass([tokens[row] for row in rows]), strict=True):
                vectors[row] = vector
        return vectors, lengths

    def _pass(self, tokens: list[list[int]]) -> np.ndarray:
        """float32 [texts, width]."""
        torch = self.torch
        longest = max(map(len, tokens))
        ids = torch.zeros((len(tokens), longest), dtype=torch.long)
        mask = torch.zeros((len(tokens), longest), dtype=torch.long)
        for row, own in enumerate(tokens):
            ids[row, : len(own)], mask[row, : len(own)] = torch.tensor(own), 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        with torch.inference_mode():
            states = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
            weights = mask[..., None].float()
            weights[:, : len(self.before)] = 0
            mean = (states[self.layer].float() * weights).sum(1) / weights.sum(1)
        return mean.cpu().numpy()


def _loaded(source: Source, setting: str) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(**source.arguments)
        told = tokenizer(["a word"])["input_ids"][0]
    except Exception as error:  # any error from a tokenizer's files is a fault of the model
        raise InputError(
            f"{setting}: the tokenizer of {source.model} does not load ({first_line(error)})."
        ) from None
    if not told:
        raise InputError(
            f"{setting}: the tokenizer of {source.model} makes no tokens, so its files are missing."
        )
    return tokenizer


def _sink(tokenizer: Any) -> list[int]:
    """The token that goes before every text for a causal LM, and is not part of the mean; [] if it has none.

    A causal LM gives its first token, whatever it is, a state a hundred times as long as the others (attention sinks, Xiao
    et al., arXiv 2309.17453). In a mean it would hide the text, and say how long it is.
    """
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return [] if first is None else [first]


def _without(tokens: list[int], before: list[int]) -> list[int]:
    """The tokens without what a tokenizer has put before them itself."""
    return tokens[len(before) :] if before and tokens[: len(before)] == before else tokens


def _cut(source: Source, setting: str) -> tuple[Any, int]:
    """The model, and which of its hidden states is the vector of a token. The layers after that one are left out."""
    from transformers import AutoModel

    try:
        model = AutoModel.from_pretrained(**source.arguments, dtype="auto", use_safetensors=True)
    except Exception as error:  # so many things can be wrong with a model's files
        raise InputError(f"{setting}: {source.model} does not load ({first_line(error)}).") from None
    layers = getattr(model, "layers", None)  # a causal LM; the layers of an encoder are inside `encoder`
    if layers is None:
        return model, LAST
    middle = len(layers) // 2 + 1
    model.layers = layers[: middle + 1]  # one more, for the last state has the final norm in it
    model.config.num_hidden_layers = middle + 1
    return model, middle
