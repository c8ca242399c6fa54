"""Written lists: where an LLM writes titles or ids, one item after the other, until a separator."""

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from app.augment.proposals import NOTHING, Proposals
from app.augment.strategies.base import Spoken
from app.augment.strategies.catalogue import Catalogue
from app.llm.grounding import Grounder
from app.llm.items import separator
from app.llm.prompts import Prompts
from app.schema import NOT_IN_CATALOGUE, UNPARSABLE

LONG_ITEM = 0.95
"""Room for a list is measured by the item that is longer than this share of the catalogue."""


class ListReader:
    """Reads lists of items of one rendering from what an LLM wrote."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, catalogue: Catalogue) -> None:
        self.tokenizer, self.catalogue = tokenizer, catalogue
        self.grounder = Grounder(catalogue.items, catalogue.rendering)

    def room(self, length: int, prompts: Prompts) -> int:
        """Tokens for a list of so many items."""
        long_item = int(np.quantile(np.diff(prompts.items.indptr), LONG_ITEM))
        return min(length * long_item + 1, prompts.context // 2)

    def read(self, answers: pa.Table) -> Proposals:
        """Every item of every list with the probability of its tokens; an unfinished last one is left out."""
        said, end = Spoken.of(answers), separator(self.catalogue.rendering)
        rows, texts, likelihood = [], [], []
        for question, row in enumerate(said.rows.tolist()):
            own = slice(said.written_starts[question], said.written_starts[question + 1])
            for text, logprob in self._items(said.written[own], said.written_logprobs[own], end):
                rows.append(row)
                texts.append(text)
                likelihood.append(np.exp(logprob))
        items = [self.grounder.ground(text) for text in texts]
        codes = np.array([NOTHING if item is None else item for item in items], np.int32)
        found = Proposals.open(np.array(rows, np.int64), codes, np.array(likelihood, np.float32), texts)
        formed = np.array([self.grounder.parses(text) for text in texts], bool)
        found = found.marked((codes == NOTHING) & formed, NOT_IN_CATALOGUE)
        return found.marked(codes == NOTHING, UNPARSABLE)

    def _items(self, written: np.ndarray, logprobs: np.ndarray, end: str) -> list[tuple[str, float]]:
        found, pending, logprob = [], [], 0.0
        for token, one in zip(written.tolist(), logprobs.tolist(), strict=True):
            pending.append(token)
            logprob += one
            text = self.tokenizer.decode(pending)
            if text.endswith(end):
                found.append((text.removesuffix(end).strip(), logprob))
                pending, logprob = [], 0.0
        return found

    def grammar(self, allowed: np.ndarray) -> str:
        """A grammar that writes lists of the catalogue's titles alone (bool [n_items])."""
        raise NotImplementedError
