"""Strategy next_item: the items that a user would take next (LLM-I2I, 2512.21595).

With the `token` rendering, one prefill proposes all items at once: the likeliest next tokens are items with their
probabilities, and nothing is decoded. With `title` and `id`, the generator continues to write the user's list.
"""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import NOTHING, Proposals
from longtail.augment.strategies.candidates import next_tokens
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.vllm_pool import MAX_LOGPROBS, Sampling
from longtail.recipe import ItemSlice, Positive, Share, StrategySection
from longtail.schema import NOT_CHOSEN


class NextItemSection(StrategySection):
    """LLM-I2I (2512.21595): the items that a user would take next."""

    meaning: ClassVar[int] = 2
    strategy: Literal["next_item"] = "next_item"
    proposals: Positive = 10
    """Number of proposals of a user to judge. Further items of the answer are only kept in the LLM's list of the user."""
    tail_share: Share = 0.0
    """Share of a user's proposals, and of what the judge keeps, that is reserved for long-tail and cold items."""
    only: list[ItemSlice] | None = None
    """Propose only items of these slices."""
    constrained: bool = False
    """With titles: decode under a grammar of the catalogue (vLLM structured outputs), so only its titles can be written."""


class NextItem:
    """One request per user, one question: the generator's prompt is the user's latest training interactions."""

    questions = 1

    def __init__(self, section: NextItemSection, tools: Tools) -> None:
        self.section, self.prompts, self.catalogue = section, tools.prompts, tools.catalogue
        self.reserved = round(section.proposals * section.tail_share)
        self.allowed = self.catalogue.in_slices(section.only)
        if self.catalogue.rendering == "token":
            self.sampling = Sampling(top=MAX_LOGPROBS)
        else:
            self.reader = ListReader(self.prompts.tokenizer, self.catalogue)
            grammar = self.reader.grammar(self.allowed) if section.constrained else None
            room = self.reader.room(section.proposals, self.prompts)
            self.sampling = Sampling(max_tokens=room, grammar=grammar)

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        return [Asked([self.prompts.next_item(history)], history[:0])]

    def read(self, answers: pa.Table) -> Proposals:
        """Best first. Open are the first that can be judged, and then the first rare items for the reserved seats."""
        token = self.catalogue.rendering == "token"
        found = next_tokens(answers, self.catalogue) if token else self.reader.read(answers)
        found = found.settled(answers).marked(
            ~self.allowed[found.items] & (found.items != NOTHING), NOT_CHOSEN
        )
        return found.kept(self.section.proposals - self.reserved, self.reserved, self.catalogue.rare)


SPEC = StrategySpec(
    settings=NextItemSection,
    build=NextItem,
    role="generator",
    task="next_item",
    ranks=True,
    on_demand=True,
    judged=True,
    answers="list",
)
