"""Strategy pairs: which of two items does a user prefer?

Llama4Rec (2401.13870) draws the two at random. Its authors' sister code (RecRanker) takes the best two of a recommender.
Each pair is asked in both orders, because an LLM may prefer one letter. If the orders disagree, the outcome is UNDECIDED.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import Proposals
from longtail.augment.strategies.candidates import shares, shown_items, unseen
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Positive, StrategySection
from longtail.schema import ACCEPTED, UNDECIDED

if TYPE_CHECKING:
    from longtail.llm.prompts.hints import Hints


class PairsSection(StrategySection):
    """Llama4Rec (2401.13870), direct: which of two items does the user prefer?"""

    strategy: Literal["pairs"] = "pairs"
    pairs: Positive = 1
    """Pairs for each user; the paper does not give the number."""
    choose: Literal["random", "top"] = "random"
    """`random`: random items (the paper). `top`: the best items of a recommender (the authors' sister code)."""


class Pairs:
    """One request per user: `shown` is a0, b0, a1, b1, ...; each pair has two questions, "a or b" and "b or a".

    count: pairs of a user. hints: if given, pairs are the best items of a recommender, which is read in the worker. pool
    int32: if there are no hints, the items that pairs are drawn from.
    """

    def __init__(
        self,
        count: int,
        prompts: Prompts,
        pool: np.ndarray,
        hints: Callable[[], "Hints"] | None = None,
    ) -> None:
        self.count, self.prompts, self.pool, self.hints = count, prompts, pool, hints
        self.questions = 2 * count
        self.sampling = Sampling()
        prompts.check(["preference"])

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        if self.hints:
            items = self.hints().top(history, 2 * self.count)
        else:
            items = unseen(rng, self.pool, history, 2 * self.count)
        pairs = items[: len(items) // 2 * 2].reshape(-1, 2)
        if not len(pairs):
            return []
        both = [self.prompts.preference(history, *order) for a, b in pairs for order in ((a, b), (b, a))]
        return [Asked(both, pairs.ravel(), [self.prompts.a, self.prompts.b])]

    def read(self, answers: pa.Table) -> Proposals:
        """One proposal per pair: the item with the larger mean probability over both orders. The likeliest comes first."""
        said = Spoken.of(answers)
        rows, items = shown_items(answers, said)
        pairs, rows = items.reshape(-1, 2), rows[::2]
        first_letter = shares(said)[0::2].reshape(-1, 2)
        for_first = (first_letter[:, 0] + 1 - first_letter[:, 1]) / 2
        # An exact tie goes to the lower item code, because the order of asking must not decide.
        turned = np.where(for_first == 0.5, pairs[:, 0] > pairs[:, 1], for_first < 0.5)
        pairs = np.where(turned[:, None], pairs[:, ::-1], pairs)
        likelihood = np.where(turned, 1 - for_first, for_first)
        agreed = (first_letter[:, 0] - 0.5) * (0.5 - first_letter[:, 1]) > 0
        order = np.lexsort((-likelihood, rows))
        preferred, against = pairs[order].T
        found = replace(Proposals.open(rows[order], preferred, likelihood[order]), against=against)
        return found.marked(~agreed[order], UNDECIDED).marked(agreed[order], ACCEPTED)


def build(section: PairsSection, tools: Tools) -> Pairs:
    hints = tools.hints("itemcf") if section.choose == "top" else None
    return Pairs(section.pairs, tools.prompts, tools.catalogue.warm, hints)


SPEC = StrategySpec(
    settings=PairsSection, build=build, role="discriminator", task="preference", answers="pair"
)
