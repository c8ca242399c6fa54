"""Reads lists of titles or ids that an LLM has written, one item after the other, with separators between them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import NOTHING, Proposals
from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Spoken
from longtail.llm.grounding import Grounder
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.grammar import list_grammar
from longtail.llm.prompts.item_text import item_texts, list_texts, separator
from longtail.schema import NOT_IN_CATALOGUE, UNPARSABLE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONG_ITEM = 0.95
"""The room for a list is planned for the item length at this quantile of the catalogue."""


@dataclass(frozen=True)
class Segments:
    """Parts of a stream of tokens, each up to a token that ends an item. Part s is tokens begins[s]:ends[s] of answer
    questions[s].

    begins, ends, questions int64 [s]; after bool [s]: whether the same answer has an earlier part.
    """

    begins: np.ndarray
    ends: np.ndarray
    questions: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, closing: np.ndarray, starts: np.ndarray) -> "Segments":
        """closing bool [t]: tokens that end an item. Answer q is tokens starts[q]:starts[q + 1].

        Tokens after the last closing one of an answer are in no part.
        """
        stops = np.flatnonzero(closing)
        questions = np.searchsorted(starts, stops, side="right") - 1
        own, earlier = starts[questions], np.concatenate([[0], stops[:-1] + 1])[: len(stops)]
        return cls(np.maximum(own, earlier), stops + 1, questions, earlier > own)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of values [t] over each part: float64 [s]."""
        bounds = np.column_stack([self.begins, self.ends]).ravel()
        padded = np.append(values.astype(np.float64), 0.0)
        return np.add.reduceat(padded, bounds)[::2] if len(bounds) else np.zeros(0)


class ListReader:
    """Reads the lists of items, in one rendering, that an LLM wrote."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", catalogue: Catalogue) -> None:
        self.tokenizer, self.catalogue = tokenizer, catalogue
        self.grounder = Grounder(catalogue.items, catalogue.rendering)
        self.end = separator(catalogue.rendering)
        vocabulary = self._decode([[token] for token in range(len(tokenizer))])
        # A token may hold text after a separator: this text begins the next item.
        self._rest = {
            token: text.rpartition(self.end)[2] for token, text in enumerate(vocabulary) if self.end in text
        }
        # Base LLMs differ in the special token that ends a text, so any of them does.
        self._closing = np.array([*self._rest, *tokenizer.all_special_ids])

    def room(self, length: int, prompts: Prompts) -> int:
        """The number of tokens for a list of `length` items."""
        long_item = int(np.quantile(np.diff(prompts.items.indptr), LONG_ITEM))
        return min(length * long_item + 1, prompts.context // 2)

    def read(self, answers: pa.Table) -> Proposals:
        """Every item of every list, with the probability of its tokens, separator included.

        If neither a separator nor an end-of-text token follows the last item of a list, it is unfinished and left out.
        """
        said = Spoken.of(answers)
        parts = Segments.of(np.isin(said.written, self._closing), said.written_starts)
        pieces = self._pieces(said.written, parts)
        counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
        texts = [text.strip() for piece in pieces for text in piece]
        rows = np.repeat(said.rows[parts.questions].astype(np.int64), counts)
        likelihood = np.repeat(np.exp(parts.sums(said.written_logprobs)), counts)
        items = self.grounder.ground_all(texts)
        found = Proposals.open(rows, items, likelihood, texts)
        found = found.marked((items == NOTHING) & self.grounder.formed(texts), NOT_IN_CATALOGUE)
        return found.marked(items == NOTHING, UNPARSABLE)

    def _pieces(self, written: np.ndarray, parts: Segments) -> list[list[str]]:
        """The texts in each part: one; several if a token holds several separators; none if only the list ends there."""
        tokens = written.tolist()
        spans = zip(parts.begins.tolist(), parts.ends.tolist(), strict=True)
        texts = self._decode([tokens[begin:end] for begin, end in spans])
        pieces = []
        for text, begin, after in zip(texts, parts.begins.tolist(), parts.after.tolist(), strict=True):
            begun = self._rest.get(tokens[begin - 1], "") if after else ""
            *ended, rest = (begun + text).split(self.end)
            closed = not ended and bool(rest.strip())
            pieces.append([rest] if closed else ended)
        return pieces

    def _decode(self, tokens: list[list[int]]) -> list[str]:
        if not tokens:
            return []  # batch_decode returns one text for an empty list
        return self.tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def grammar(self, allowed: np.ndarray) -> str:
        """A grammar for lists of only the allowed items (bool [n_items]); see `list_grammar`.

        An item whose text names no single item, because another item has the same text, cannot be written.
        """
        rendering = self.catalogue.rendering
        named = self.grounder.ground_all(item_texts(self.catalogue.items, rendering)) != NOTHING
        texts = list_texts(self.catalogue.items, rendering)
        return list_grammar(texts[item] for item in np.flatnonzero(allowed & named))
