"""Strategy id_list: the rest of a list of items, sampled (LLM4IDRec, 2411.02041).

The paper filters by form alone: it drops what is no item of the catalogue, and adds all else to the user's log. So there is
no judge. Items that the user has already and repeated items are left out here.
"""

from math import factorial
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from longtail.arrays import lengths_of, offsets_of
from longtail.augment.proposals import NOTHING, OPEN, Proposals
from longtail.augment.strategies.candidates import check_context, longest_items
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Positive, StrategySection
from longtail.schema import ACCEPTED, NOT_CHOSEN, NOT_IN_CATALOGUE

SURELY_MORE = 12
"""A number of items with more orders (12!) than any recipe asks lists for."""

LARGEST = 10**8
"""A user number that is longer than any real one."""


class IdListSection(StrategySection):
    """LLM4IDRec (2411.02041): the rest of a list of bare ids, sampled."""

    meaning: ClassVar[int] = 2
    strategy: Literal["id_list"] = "id_list"
    lists: Positive = 1
    """Lists sampled for each user."""
    length: Positive = 10
    """Maximum number of items in a list."""
    temperature: Annotated[float, Field(gt=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    share: Annotated[float, Field(gt=0)] | None = None
    """At most this share of a user's history is added; the paper has no cap."""


class IdList:
    """One request per list: the user's whole history, each time in a different random order, as in tuning."""

    questions = 1

    def __init__(self, section: IdListSection, tools: Tools) -> None:
        prompts = tools.prompts
        self.section, self.prompts, self.catalogue = section, prompts, tools.catalogue
        self.numbered = tools.tuning.user_number
        prompts.check(["id_list"])
        self.room = section.length
        if self.catalogue.rendering != "token":
            self.reader = ListReader(prompts.tokenizer, self.catalogue)
            self.room = self.reader.room(section.length, prompts)
        self.sampling = Sampling(self.room, temperature=section.temperature, top_p=section.top_p)
        one = longest_items(prompts, 1)
        check_context(
            section,
            "length",
            prompts,
            lambda boundless: boundless.id_list(one, self.room, LARGEST if self.numbered else None),
            self.room,
        )

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """Fewer than `lists` if the history has fewer orders, because the same question twice gets the same answer."""
        orders: dict[bytes, np.ndarray] = {}
        while len(orders) < min(self.section.lists, factorial(min(len(history), SURELY_MORE))):
            order = rng.permutation(history)
            orders[order.tobytes()] = order
        named = user if self.numbered else None
        return [
            Asked([self.prompts.id_list(order, self.room, named)], history[:0]) for order in orders.values()
        ]

    def read(self, answers: pa.Table) -> Proposals:
        """In the order of the list. The first items are accepted, up to the cap.

        `share` is a cap for a user, but a row is one list. So each of `lists` gets an equal part, rounded down, and all
        lists together stay within the share.
        """
        found = self._tokens(answers) if self.catalogue.rendering == "token" else self.reader.read(answers)
        found = found.settled(answers)
        full = found.places(found.outcomes == OPEN) >= self._seats(answers)[found.rows]
        return found.marked(full, NOT_CHOSEN).marked(found.items != NOTHING, ACCEPTED)

    def _seats(self, answers: pa.Table) -> np.ndarray:
        """The number of items that a row may add: int64 [rows]."""
        lengths = lengths_of(answers["history"])
        if self.section.share is None:
            return np.full(len(lengths), self.section.length)
        allowed = np.floor((self.section.share * lengths).round(6)).astype(np.int64)
        return np.minimum(allowed // self.section.lists, self.section.length)

    def _tokens(self, answers: pa.Table) -> Proposals:
        """The written tokens before the end of the list. A token that is no item gets the outcome NOT_IN_CATALOGUE."""
        said = Spoken.of(answers)
        ends = offsets_of(said.written == self.prompts.end)  # number of end tokens before each token
        lengths = np.diff(said.written_starts)
        listed = ends[1:] == np.repeat(ends[said.written_starts[:-1]], lengths)
        rows = np.repeat(said.rows, lengths)[listed]
        items = self.catalogue.of_tokens(said.written[listed])
        found = Proposals.open(rows, items, np.exp(said.written_logprobs[listed]))
        return found.marked(items == NOTHING, NOT_IN_CATALOGUE)


SPEC = StrategySpec(settings=IdListSection, build=IdList, role="generator", task="id_list", answers="list")
