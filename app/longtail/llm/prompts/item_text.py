"""Items as text: how each item is written in a prompt, and its token ids, computed once for all prompts."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

from longtail.arrays import offsets_of

MAX_TITLE = 120
"""Characters of a title in a prompt: enough to tell items apart, too few to fill the context."""

BY_ID = ("id", "renumbered", "string")
"""The renderings that write a bare id as text."""
LETTERS = 6
"""Letters of a random string; twice as many if two items would have the same."""

_INERT = str.maketrans("<>", "‹›")


def item_texts(items: pa.Table, rendering: str) -> list[str]:
    """The text of every item of `schema.ITEMS`, by code.

    `token` writes `<item_12>`, one token per item. `id` writes `i12`, plain digits (LLM4IDRec, arXiv 2411.02041), and
    `renumbered` the same with the numbers of `new_numbers`. `string` writes random letters. `title` writes the item's name;
    if several items share it, the item_id follows: `Lip balm (B0001)`.
    """
    codes = items["item"].to_pylist()
    if rendering == "token":
        return [f"<item_{code}>" for code in codes]
    if rendering == "id":
        return [f"i{code}" for code in codes]
    if rendering == "renumbered":
        return [f"i{number}" for number in new_numbers(items).tolist()]
    if rendering == "string":
        return _strings(items)
    names = item_names(items)
    shared = Counter(names)
    ids = map(one_line, items["item_id"].to_pylist())
    return [
        f"{name} ({item_id})" if shared[name] > 1 else name for name, item_id in zip(names, ids, strict=True)
    ]


def new_numbers(items: pa.Table) -> np.ndarray:
    """A number 0 … n - 1 for every item, int64, by code: in the order of a hash of the item_id, so it means nothing."""
    hashes = [_hash(one) for one in items["item_id"].to_pylist()]
    return np.argsort(sorted(range(len(hashes)), key=hashes.__getitem__)).astype(np.int64)


def _strings(items: pa.Table) -> list[str]:
    """Letters a … z for every item, by code, from a hash of the item_id."""
    drawn = [
        "".join(chr(ord("a") + byte % 26) for byte in _hash(one)) for one in items["item_id"].to_pylist()
    ]
    counts = Counter(one[:LETTERS] for one in drawn)
    return [one[: LETTERS if counts[one[:LETTERS]] == 1 else 2 * LETTERS] for one in drawn]


def _hash(item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=2 * LETTERS).digest()


def item_names(items: pa.Table) -> list[str]:
    """Every item's title, cut to MAX_TITLE, or its item_id if it has no title. One line each; names may repeat."""
    titles = [one_line(title or "")[:MAX_TITLE].rstrip() for title in items["title"].to_pylist()]
    return [title or one_line(own) for title, own in zip(titles, items["item_id"].to_pylist(), strict=True)]


def list_texts(items: pa.Table, rendering: str) -> list[str]:
    """The text of every item as an entry of a list, separator included."""
    lead = " " if rendering in BY_ID else ""
    return [lead + text + separator(rendering) for text in item_texts(items, rendering)]


def one_line(text: str) -> str:
    """The text as one line, because a line break ends an item in a list; `<`, `>` replaced, because tokens look so."""
    return " ".join(text.split()).translate(_INERT)


def separator(rendering: str) -> str:
    """The text that ends an item in a list of items."""
    return "," if rendering in BY_ID else {"token": "", "title": "\n"}[rendering]


def titled(tokenizer: "PreTrainedTokenizerBase", title: str, ending: str) -> np.ndarray:
    """The tokens, int32, of an item whose title is followed by `ending`, and cut to make room for it; with separator."""
    text = f"{title[: MAX_TITLE - 1 - len(ending)].rstrip()} {ending}{separator('title')}"
    return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


@dataclass(frozen=True)
class ItemTokens:
    """Token ids of every item, separator included: `tokens[indptr[i]:indptr[i + 1]]` writes item i."""

    tokens: np.ndarray
    indptr: np.ndarray

    @classmethod
    def build(cls, tokenizer: "PreTrainedTokenizerBase", items: pa.Table, rendering: str) -> "ItemTokens":
        ids = tokenizer(list_texts(items, rendering), add_special_tokens=False)["input_ids"]
        lengths = np.fromiter((len(one) for one in ids), np.int64, len(ids))
        tokens = np.fromiter((token for one in ids for token in one), np.int32, int(lengths.sum()))
        return cls(tokens, offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, item: int) -> np.ndarray:
        return self.tokens[self.indptr[item] : self.indptr[item + 1]]

    def join(self, items: np.ndarray, budget: int) -> np.ndarray:
        """The tokens of a list of items; the first items (the oldest) are left out if not all fit in `budget` tokens."""
        kept: list[np.ndarray] = []
        for item in reversed(items):
            piece = self.of(item)
            budget -= len(piece)
            if budget < 0:
                break
            kept.append(piece)
        return np.concatenate(kept[::-1]) if kept else np.empty(0, np.int32)
