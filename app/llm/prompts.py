"""Prompts and tuning examples, as token ids: instruction first, then the items, so that prefixes repeat.

A generator's prompt is a list of items that the answer goes on with, so one sequence teaches every step of a history
(LLM-I2I 2512.21595, L_g: the sum over users and over t = 1..T); a discriminator's prompt asks Yes or No of one item
(L_d). Ids are joined here and nowhere else, so that tuning and inference see the same tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from app.errors import InputError
from app.llm.items import ItemTokens
from app.workspace import Place

VERSION = 1
"""Part of every request's hash: a changed prompt is a new question."""

LONGEST_CONTEXT = 2048

NEXT_ITEM = "Items of a user, oldest first:\n"
YES_NO = "Would this user take the item?\nItems:\n"
CANDIDATE = "\nItem:\n"
ANSWER = "\nAnswer:"
YES, NO = " Yes", " No"


@dataclass(frozen=True)
class Example:
    """A tuning example. `weights[t]` is the loss weight of predicting `tokens[t]` from those before it; 0 leaves it out."""

    tokens: np.ndarray
    weights: np.ndarray


class Prompts:
    """Writes prompts and examples for one tokenizer, catalogue and rendering.

    history: how many of the latest interactions a prompt carries. context: the longest prompt in tokens.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, items: pa.Table, rendering: str, history: int, context: int
    ) -> None:
        def encode(text: str) -> np.ndarray:
            return np.asarray(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)

        self.tokenizer = tokenizer
        self.items = ItemTokens.build(tokenizer, items, rendering)
        self.history, self.context = history, context
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._next_item = np.concatenate([start, encode(NEXT_ITEM)]).astype(np.int32)
        self._yes_no = np.concatenate([start, encode(YES_NO)]).astype(np.int32)
        self._candidate, self._answer = encode(CANDIDATE), encode(ANSWER)
        self.yes, self.no = (_single(encode(word), word) for word in (YES, NO))

    @classmethod
    def open(cls, llm: Place, items: pa.Table, rendering: str, history: int) -> Self:
        """For the tokenizer of a checkpoint; a prompt leaves room for one token of an answer."""
        with llm.local() as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        return cls(
            tokenizer, items, rendering, history, context=min(tokenizer.model_max_length, LONGEST_CONTEXT) - 1
        )

    def next_item(self, history: np.ndarray) -> np.ndarray:
        """The generator's prompt for a user's observed items, oldest first."""
        budget = self.context - len(self._next_item)
        return np.concatenate([self._next_item, self.items.join(history[-self.history :], budget)])

    def yes_no(self, history: np.ndarray, item: int) -> np.ndarray:
        """The discriminator's prompt for a user's observed items and one candidate."""
        rest = np.concatenate([self._candidate, self.items.of(item), self._answer])
        budget = self.context - len(self._yes_no) - len(rest)
        return np.concatenate([self._yes_no, self.items.join(history[-self.history :], budget), rest])

    def next_item_examples(self, items: np.ndarray, target_weights: np.ndarray) -> Iterator[Example]:
        """Examples in which every item of a training history is a target exactly once.

        items int32 [T]; target_weights float32 [T], 4 for a long-tail item and 1 for another (LLM-I2I, alpha and beta).
        A window holds `history` + 1 items and moves by half a window, so that a target has at least half a prompt's
        history before it where the user has one.
        """
        step = max(1, self.history // 2)
        done = 1  # the first item has nothing before it
        start = 0
        while done < len(items):
            end = min(start + self.history + 1, len(items))
            yield self._window(items[start:end], target_weights[start:end], done - start)
            done, start = end, max(end - (self.history + 1) + step, start + 1)

    def _window(self, items: np.ndarray, target_weights: np.ndarray, first_target: int) -> Example:
        pieces = [self.items.of(item) for item in items]
        while len(pieces) > 2 and len(self._next_item) + sum(map(len, pieces)) > self.context:
            pieces, target_weights, first_target = pieces[1:], target_weights[1:], max(first_target - 1, 1)
        weights = [np.zeros(len(self._next_item), np.float32)]
        weights += [
            np.full(len(piece), target_weights[place] if place >= first_target else 0.0, np.float32)
            for place, piece in enumerate(pieces)
        ]
        return Example(np.concatenate([self._next_item, *pieces]), np.concatenate(weights))

    def yes_no_example(self, history: np.ndarray, item: int, taken: bool) -> Example:
        """Loss on the one token of the answer."""
        prompt = self.yes_no(history, item)
        weights = np.zeros(len(prompt) + 1, np.float32)
        weights[-1] = 1.0
        return Example(np.append(prompt, self.yes if taken else self.no).astype(np.int32), weights)


def _single(ids: np.ndarray, word: str) -> int:
    """The only token of a word: a confidence is read from one token's probability."""
    if len(ids) != 1:
        raise InputError(
            f"llm.base: its tokenizer writes {word!r} as {len(ids)} tokens; choose a base that writes it as one."
        )
    return int(ids[0])
