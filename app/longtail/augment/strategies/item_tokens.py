"""What strategies know about the catalogue: the slices of items, and the token of each item."""

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import NOTHING
from longtail.data.catalogue import COLD, TAIL
from longtail.llm.prompts.item_text import item_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Catalogue:
    """items: rows of `schema.ITEMS`; rendering: how prompts write items (`llm.items`). tokenizer: None without an LLM."""

    def __init__(self, items: pa.Table, rendering: str, tokenizer: "PreTrainedTokenizerBase | None") -> None:
        self.items, self.rendering = items, rendering
        self.size = items.num_rows
        self.rare = rare_items(items)
        self.first_token = -1
        if rendering == "token" and tokenizer is not None:
            self.first_token = tokenizer.convert_tokens_to_ids(item_texts(items.slice(0, 1), rendering)[0])

    @cached_property
    def slices(self) -> np.ndarray:
        return np.asarray(self.items["slice"].to_pylist())

    @cached_property
    def warm(self) -> np.ndarray:
        """int32: the items with a training interaction."""
        return warm_items(self.items)

    @cached_property
    def cold(self) -> np.ndarray:
        return np.flatnonzero(self.slices == COLD).astype(np.int32)

    def in_slices(self, names: Iterable[str] | None) -> np.ndarray:
        """bool [n_items]: items of these slices, or all items if `names` is None."""
        return np.ones(self.size, bool) if names is None else np.isin(self.slices, list(names))

    def of_tokens(self, tokens: np.ndarray) -> np.ndarray:
        """Item codes int32 of item tokens, NOTHING for any other token."""
        items = tokens - self.first_token
        return np.where((items >= 0) & (items < self.size), items, NOTHING).astype(np.int32)

    def tokens(self, items: np.ndarray) -> np.ndarray:
        """The item tokens of item codes."""
        return items + self.first_token


def warm_items(items: pa.Table) -> np.ndarray:
    """int32: the items with a training interaction."""
    return np.flatnonzero(np.asarray(items["slice"].to_pylist()) != COLD).astype(np.int32)


def rare_items(items: pa.Table) -> np.ndarray:
    """bool [n_items]: long-tail and cold items, the target of augmentation."""
    return np.isin(np.asarray(items["slice"].to_pylist()), (TAIL, COLD))
