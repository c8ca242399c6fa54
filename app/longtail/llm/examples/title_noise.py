"""Random words after titles, unrelated to the answer, so that a discriminator learns to ignore orders in a title.

Item text is data, and a publisher writes it. A discriminator that was tuned only on normal titles changes its answer when
it sees words that were never in tuning. The words are drawn at random; no known attack is memorised.
"""

import numpy as np
import pyarrow as pa

from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import MAX_TITLE, item_texts, titled
from longtail.llm.prompts.words import TEXTS, WORDS

WORDS_AT_MOST = 12
PIECES_AT_MOST = 3
LONGEST = MAX_TITLE // 2
"""Most characters of noise, so that at least half of a title is left."""


class TitleNoise:
    """Writes an item as the prompts do, but with 1 to WORDS_AT_MOST random words at the end of its title.

    A word is either a word of the prompts (`Yes`, `Answer:`), because an attack would use these, or up to PIECES_AT_MOST
    joined tokens of the vocabulary, because unknown words must not change an answer. prompts must write items as titles.
    """

    def __init__(self, prompts: Prompts, items: pa.Table) -> None:
        self.tokenizer = prompts.tokenizer
        self.titles = item_texts(items, "title")
        self.own = " ".join((*TEXTS, *WORDS)).split()
        special = set(self.tokenizer.all_special_ids)
        tokens = [[token] for token in range(len(self.tokenizer)) if token not in special]
        pieces = {text.strip() for text in self.tokenizer.batch_decode(tokens)}
        # A token that is only part of a character is not text.
        self.pieces = sorted(
            piece for piece in pieces if piece.isprintable() and piece and "\ufffd" not in piece
        )

    def written(self, item: int, rng: np.random.Generator) -> np.ndarray:
        """The tokens of an item with noise drawn from `rng`, separator included: int32."""
        words = " ".join(self._word(rng) for _ in range(rng.integers(1, WORDS_AT_MOST + 1)))[:LONGEST]
        return titled(self.tokenizer, self.titles[item], words.rstrip())

    def _word(self, rng: np.random.Generator) -> str:
        if rng.integers(2):
            return self.own[rng.integers(len(self.own))]
        drawn = rng.integers(len(self.pieces), size=rng.integers(1, PIECES_AT_MOST + 1))
        return "".join(self.pieces[piece] for piece in drawn)
