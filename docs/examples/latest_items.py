"""Strategy latest_items: what would a user take next, judged by nothing but the latest few interactions?"""

from typing import Literal

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import NOTHING, Proposals
from longtail.augment.strategies.candidates import next_tokens
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.vllm_pool import MAX_LOGPROBS, Sampling
from longtail.recipe import Positive, StrategySection
from longtail.schema import ACCEPTED


class LatestItemsSection(StrategySection):
    strategy: Literal["latest_items"] = "latest_items"
    latest: Positive = 3
    """The prompt carries so many of the latest interactions."""
    keep: Positive = 5
    """At most so many items are accepted for a user."""


class LatestItems:
    """One request per user, one question. With item tokens one prefill names the likeliest items, else a list is written."""

    questions = 1

    def __init__(self, section: LatestItemsSection, tools: Tools) -> None:
        self.section, self.prompts, self.catalogue = section, tools.prompts, tools.catalogue
        self.sampling, self.reader = Sampling(top=MAX_LOGPROBS), None
        if self.catalogue.rendering != "token":
            self.reader = ListReader(self.prompts.tokenizer, self.catalogue)
            self.sampling = Sampling(self.reader.room(section.keep, self.prompts))

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        return [Asked([self.prompts.next_item(history[-self.section.latest :])], shown=history[:0])]

    def read(self, answers: pa.Table) -> Proposals:
        """Of the items that are new to the user the first `keep` are accepted."""
        found = self.reader.read(answers) if self.reader else next_tokens(answers, self.catalogue)
        found = found.settled(answers).kept(self.section.keep)
        return found.marked(found.items != NOTHING, ACCEPTED)


SPEC = StrategySpec(
    settings=LatestItemsSection, build=LatestItems, role="generator", task="next_item", answers="list"
)
