"""Strategy pairs: which of two items does a user prefer?

Llama4Rec (2401.13870) draws the two at random. Its authors' sister code (RecRanker) takes the best two of a recommender.
`ways_of_asking` has the ways to ask. If a pair is asked in both orders and the answers disagree, the outcome is UNDECIDED.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import Proposals
from longtail.augment.strategies.candidates import shown_items, unseen
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.augment.strategies.ways_of_asking import (
    PreferenceSection,
    Way,
    asking_prompts,
    role_of,
    task_of,
    way_of,
)
from longtail.llm.prompts.building import Prompts
from longtail.recipe import Positive
from longtail.schema import ACCEPTED, UNDECIDED

if TYPE_CHECKING:
    from longtail.llm.prompts.hints import Hints


class PairsSection(PreferenceSection):
    """Llama4Rec (2401.13870), direct: which of two items does the user prefer?"""

    strategy: Literal["pairs"] = "pairs"
    pairs: Positive = 1
    """Pairs for each user; the paper does not give the number."""
    choose: Literal["random", "top"] = "random"
    """`random`: random items (the paper). `top`: the best items of a recommender (the authors' sister code)."""


class Judged(NamedTuple):
    """What an LLM says of p pairs. rows int64 [p]: the row of each in the batch; pairs int32 [p, 2]; for_first float64 [p]:
    the probability that the first item is preferred; answered bool [p].
    """

    rows: np.ndarray
    pairs: np.ndarray
    for_first: np.ndarray
    answered: np.ndarray


class Pairs:
    """One request per user: `shown` is a0, b0, a1, b1, ...; the questions about a pair are those of the way of asking.

    count: pairs of a user. hints: if given, pairs are the best items of a recommender, which is read in the worker. pool
    int32: if there are no hints, the items that pairs are drawn from.
    """

    def __init__(
        self,
        count: int,
        prompts: Prompts,
        way: Way,
        pool: np.ndarray,
        hints: Callable[[], "Hints"] | None = None,
    ) -> None:
        self.count, self.prompts, self.way, self.pool, self.hints = count, prompts, way, pool, hints
        self.questions, self.sampling = way.per_pair * count, way.sampling

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        if self.hints:
            items = self.hints().top(history, 2 * self.count)
        else:
            items = unseen(rng, self.pool, history, 2 * self.count)
        pairs = items[: len(items) // 2 * 2].reshape(-1, 2)
        return [self.about(history, pairs)] if len(pairs) else []

    def about(self, history: np.ndarray, pairs: np.ndarray) -> Asked:
        """The request about pairs int32 [p, 2]."""
        return Asked(self.way.prompts(history, pairs), pairs.ravel(), self.way.options)

    def judged(self, answers: pa.Table) -> Judged:
        """What the LLM says of every pair of the rows that have answers, in their order."""
        said = Spoken.of(answers)
        rows, items = shown_items(answers, said)
        pairs = items.reshape(-1, 2)
        return Judged(rows[::2], pairs, *self.way.read(said, pairs))

    def read(self, answers: pa.Table) -> Proposals:
        """One proposal per pair: the preferred item with its probability. The likeliest comes first."""
        rows, pairs, for_first, answered = self.judged(answers)
        # An exact tie goes to the lower item code, because the order of asking must not decide.
        turned = np.where(for_first == 0.5, pairs[:, 0] > pairs[:, 1], for_first < 0.5)
        pairs = np.where(turned[:, None], pairs[:, ::-1], pairs)
        likelihood = np.where(turned, 1 - for_first, for_first)
        order = np.lexsort((-likelihood, rows))
        preferred, against = pairs[order].T
        found = replace(Proposals.open(rows[order], preferred, likelihood[order]), against=against)
        return found.marked(~answered[order], UNDECIDED).marked(answered[order], ACCEPTED)


def build(section: PairsSection, tools: Tools) -> Pairs:
    hints = tools.hints("itemcf") if section.choose == "top" else None
    prompts = asking_prompts(section, tools)
    return Pairs(section.pairs, prompts, way_of(section, prompts), tools.catalogue.warm, hints)


SPEC = StrategySpec(settings=PairsSection, build=build, role=role_of, task=task_of, answers="pair")
