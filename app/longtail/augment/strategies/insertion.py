"""Strategy insertion: the likeliest of some items that a user has not taken (Llama4Rec, 2401.13870).

Fusion inserts it at a random place in the user's sequence.
"""

from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from longtail.augment.proposals import NOTHING, Proposals
from longtail.augment.strategies.candidates import check_context, longest_items, offered, unseen, written
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng
from longtail.augment.strategies.written_lists import ListReader
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import MAX_LOGPROBS, Sampling
from longtail.recipe import StrategySection
from longtail.schema import ACCEPTED, NOT_CHOSEN

READ = 3
"""Number of items of a written list to read. If the first is no candidate, the next may be; more is a waste of tokens."""


class InsertionSection(StrategySection):
    """Llama4Rec, sequential: the likeliest of some items that the user has not taken, inserted at a random place."""

    meaning: ClassVar[int] = 2
    strategy: Literal["insertion"] = "insertion"
    candidates: Annotated[int, Field(ge=2)] = 10
    """Items drawn for each user; the paper does not give the number."""


class Insertion:
    """One request per user, one question; `shown` are the candidates.

    With item tokens, the candidates are the options for the next token. With other renderings, the generator is asked to
    rank them, without the hint of a recommender.
    """

    questions = 1

    def __init__(self, section: InsertionSection, tools: Tools) -> None:
        prompts, catalogue = tools.prompts, tools.catalogue
        self.section, self.prompts, self.catalogue = section, prompts, catalogue
        if catalogue.rendering == "token":
            self._check_options()
            self.sampling = Sampling()
        else:
            prompts.check(["ranking"])
            self.reader = ListReader(prompts.tokenizer, catalogue)
            self.room = self.reader.room(READ, prompts)
            self.sampling = Sampling(self.room)
            longest = longest_items(prompts, section.candidates)
            check_context(
                section,
                "candidates",
                prompts,
                lambda boundless: self._ranking(boundless, longest[:1], longest),
                self.room,
            )

    def _check_options(self) -> None:
        if self.section.candidates > MAX_LOGPROBS:
            raise InputError(
                f"augment, strategy insertion: candidates = {self.section.candidates}, but with llm.items: token an answer"
                f" carries the probabilities of at most {MAX_LOGPROBS} items; lower candidates."
            )

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        candidates = unseen(rng, self.catalogue.warm, history, self.section.candidates)
        if len(candidates) < 2:
            return []
        if self.catalogue.rendering == "token":
            options = self.catalogue.tokens(candidates)
            return [Asked([self.prompts.next_item(history)], candidates, options)]
        return [Asked([self._ranking(self.prompts, history, candidates)], candidates)]

    def read(self, answers: pa.Table) -> Proposals:
        """Best first. Only the best is accepted."""
        token = self.catalogue.rendering == "token"
        found = offered(answers, self.catalogue) if token else written(answers, self.reader)
        candidate = found.items != NOTHING
        best = candidate & (found.places(candidate) == 0)
        return found.settled(answers).marked(best, ACCEPTED).marked(candidate, NOT_CHOSEN)

    def _ranking(self, prompts: Prompts, history: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        none = candidates[:0]
        return prompts.ranking(history, candidates, hint=none, similar=none, room=self.room)


SPEC = StrategySpec(settings=InsertionSection, build=Insertion, role="generator", task="next_item")
