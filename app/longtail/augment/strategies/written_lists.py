"""Written lists: where an LLM writes titles or ids, one item after the other, until a separator."""

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
"""Room for a list is measured by the item that is longer than this share of the catalogue."""


@dataclass(frozen=True)
class Segments:
    """The parts of a stream of tokens that end an item: part s is tokens begins[s]:ends[s], of answer questions[s].

    begins, ends, questions int64 [s]; after[s]: whether an earlier part of the same answer stands before it.
    """

    begins: np.ndarray
    ends: np.ndarray
    questions: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, closing: np.ndarray, starts: np.ndarray) -> "Segments":
        """closing bool [t]: tokens that end an item; answer q is tokens starts[q]:starts[q + 1]. An open end is no part."""
        stops = np.flatnonzero(closing)
        questions = np.searchsorted(starts, stops, side="right") - 1
        own, earlier = starts[questions], np.concatenate([[0], stops[:-1] + 1])[: len(stops)]
        return cls(np.maximum(own, earlier), stops + 1, questions, earlier > own)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of each part of values [t], float64 [s]."""
        bounds = np.column_stack([self.begins, self.ends]).ravel()
        padded = np.append(values.astype(np.float64), 0.0)
        return np.add.reduceat(padded, bounds)[::2] if len(bounds) else np.zeros(0)


class ListReader:
    """Reads lists of items of one rendering from what an LLM wrote."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", catalogue: Catalogue) -> None:
        self.tokenizer, self.catalogue = tokenizer, catalogue
        self.grounder = Grounder(catalogue.items, catalogue.rendering)
        self.end = separator(catalogue.rendering)
        vocabulary = self._decode([[token] for token in range(len(tokenizer))])
        # A token may hold more than a separator: what follows it begins the next item.
        self._rest = {
            token: text.rpartition(self.end)[2] for token, text in enumerate(vocabulary) if self.end in text
        }
        # Which of its special tokens ends a text is a base's own affair.
        self._closing = np.array([*self._rest, *tokenizer.all_special_ids])

    def room(self, length: int, prompts: Prompts) -> int:
        """Tokens for a list of so many items."""
        long_item = int(np.quantile(np.diff(prompts.items.indptr), LONG_ITEM))
        return min(length * long_item + 1, prompts.context // 2)

    def read(self, answers: pa.Table) -> Proposals:
        """Every item of every list with the probability of its tokens, the separator's included.

        The last item of a list that neither a separator nor an end-of-text token ends is unfinished, and left out.
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
        """The texts that each part ends: one, more where a token holds several separators, none where a list just ends."""
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
            return []  # batch_decode makes one text of none
        return self.tokenizer.batch_decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def grammar(self, allowed: np.ndarray) -> str:
        """A grammar that writes lists of the allowed items alone (bool [n_items]); see `list_grammar`.

        An item whose text names nothing, as another item shares it, cannot be written.
        """
        rendering = self.catalogue.rendering
        named = self.grounder.ground_all(item_texts(self.catalogue.items, rendering)) != NOTHING
        texts = list_texts(self.catalogue.items, rendering)
        return list_grammar(texts[item] for item in np.flatnonzero(allowed & named))
