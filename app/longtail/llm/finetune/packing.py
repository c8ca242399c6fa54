"""Sequence packing: the examples of a forward pass are joined without padding, and none attends to another.

Attention runs through transformers' attention interface, so any causal LM that uses it can be tuned on packs.
Examples of nearly equal length are grouped and go through an ordinary causal kernel together. That is cheaper than a block
mask over the whole pack (quadratic in its length), and it runs on CPU and on GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from longtail.arrays import offsets_of, places_of
from longtail.attention_groups import AttentionGroups
from longtail.errors import InputError
from longtail.llm.prompts.example import Example

ATTENTION = "longtail_packed"
"""The name of this attention in transformers."""

NOTHING = Example(np.zeros(1, np.int32), np.zeros(1, np.float32))
"""A worker without examples passes this through the model while other workers have examples. It teaches nothing."""


@dataclass(frozen=True)
class Pack:
    """Joined examples: N tokens, M of them taught.

    tokens and positions int64 [N]; positions start from 0 in every example. taught int64 [M]: the places in the pack that
    predict a taught token; targets int64 [M]: those tokens; weights float32 [M]: their loss weights.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    taught: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    groups: AttentionGroups

    @classmethod
    def of(cls, examples: Sequence[Example], device: torch.device) -> Self:
        examples = examples or [NOTHING]
        lengths = np.array([len(example.tokens) for example in examples])
        tokens = np.concatenate([example.tokens for example in examples]).astype(np.int64)
        weights = np.concatenate([example.weights for example in examples]).astype(np.float32)
        weights[offsets_of(lengths)[:-1]] = 0.0  # no token comes before a first token
        targets = np.flatnonzero(weights)
        arrays = (tokens, places_of(lengths), targets - 1, tokens[targets], weights[targets])
        return cls(
            *(torch.from_numpy(array).to(device) for array in arrays), AttentionGroups.of(lengths, device)
        )


def token_losses(model: nn.Module, pack: Pack) -> torch.Tensor:
    """Cross-entropy of every taught token, float32 [M]. Logits are computed only for taught tokens."""
    logits = model(
        input_ids=pack.tokens[None],
        position_ids=pack.positions[None],
        logits_to_keep=pack.taught,
        use_cache=False,
        groups=pack.groups,
    ).logits[0]
    return functional.cross_entropy(logits.float(), pack.targets, reduction="none")


def attend_within_examples(model: nn.Module) -> None:
    """Set the attention of `model`, a transformers model, so that tokens attend only within their example.

    Raises InputError if one example would see another, or if the attention would differ from the model's own.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    obstacle = _obstacle(model)
    if obstacle is None:
        try:
            model.set_attn_implementation(ATTENTION)
        except ValueError as error:
            obstacle = str(error)
    if obstacle is not None:
        raise InputError(
            f"llm.base: {type(model).__name__} cannot be tuned on packed examples ({obstacle}). Choose a model of "
            "transformers itself, such as Llama, Qwen, Mistral or Gemma 3."
        )


def _obstacle(model: nn.Module) -> str | None:
    """Why packs would be wrong, or None. transformers does not raise: it warns and keeps the old attention."""
    config = model.config
    if not getattr(model, "_supports_attention_backend", True):
        return "its code does not use transformers' attention interface"
    layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if layers or getattr(model, "_is_stateful", False):
        return f"it has layers that are not attention: {', '.join(sorted(layers)) or 'recurrent ones'}"
    if not getattr(model, "_supports_sdpa", True) or getattr(config, "attn_logit_softcapping", None):
        return "its attention is not a plain softmax of dot products"
    return None


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    groups: AttentionGroups,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside every example: query [1, heads, N, d], key, value [1, key heads, N, d] -> [1, N, heads, d].

    Signature and shapes are those of transformers' attention functions. sliding_window: how many tokens a token
    sees, including itself.
    """
    cells = [part[0].transpose(0, 1).index_select(0, groups.gather) for part in (query, key, value)]
    sizes = [rows * longest for rows, longest in groups.shapes]
    mixed = []
    for shape, *parts in zip(groups.shapes, *(part.split(sizes) for part in cells), strict=True):
        q, k, v = (part.view(*shape, *part.shape[1:]).transpose(1, 2) for part in parts)
        window = _window(shape[1], sliding_window, q.device)
        out = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=window, dropout_p=dropout, is_causal=window is None, scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
        mixed.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed).index_select(0, groups.scatter)[None], None


def _window(length: int, size: int | None, device: torch.device) -> torch.Tensor | None:
    """Which token sees which, bool [length, length]; None if a window of `size` tokens hides no token."""
    if size is None or length <= size:
        return None
    places = torch.arange(length, device=device)
    back = places[:, None] - places
    return (back >= 0) & (back < size)


def _no_mask(*_: Any, **__: Any) -> None:
    """No mask, because the groups define which token attends to which."""
