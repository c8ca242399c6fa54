"""Strategies pairs and cold_pairs: which of two items does a user prefer?

Llama4Rec (2401.13870, papers 2.2) draws the two at random, its authors' code takes a recommender's best two; the cold-start
augmenters (2402.11724, papers 4.2) draw two cold items. Each pair is asked in both orders, for an LLM leans to one letter:
where the orders disagree it has not answered.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import OPEN, Proposals
from longtail.augment.strategies.candidates import shares, shown_items, unseen
from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.hints import Hints
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import ColdPairs
from longtail.recipe import Pairs as Section
from longtail.schema import ACCEPTED, UNDECIDED


class Pairs:
    """One request per user: `shown` is a0, b0, a1, b1, ..., the questions are a or b, b or a, of each pair.

    hints: needed where the pairs are a recommender's; read in the worker.
    """

    role = "discriminator"
    judged = False

    def __init__(
        self,
        section: Section | ColdPairs,
        prompts: Prompts,
        catalogue: Catalogue,
        hints: Callable[[], Hints] | None = None,
    ) -> None:
        self.section, self.prompts, self.hints = section, prompts, hints
        self.name: str = section.strategy
        self.questions = 2 * section.pairs
        self.sampling = Sampling()
        self.pool = catalogue.cold if isinstance(section, ColdPairs) else catalogue.warm
        prompts.check(["preference"])
        if isinstance(section, ColdPairs) and len(self.pool) < 2:
            raise InputError(
                f"augment, strategy cold_pairs: of {catalogue.size} items {len(self.pool)} are cold (without a training"
                " interaction), a pair needs two. Have items that came late held out (dataset.split: temporal), or leave"
                " cold_pairs out."
            )

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        count = 2 * self.section.pairs
        if self.hints:
            items = self.hints().top(history, count)
        else:
            items = unseen(rng, self.pool, history, count)
        pairs = items[: len(items) // 2 * 2].reshape(-1, 2)
        if not len(pairs):
            return []
        both = [self.prompts.preference(history, *order) for a, b in pairs for order in ((a, b), (b, a))]
        return [Asked(both, pairs.ravel(), [self.prompts.a, self.prompts.b])]

    def read(self, answers: pa.Table) -> Proposals:
        """One proposal a pair, the surest first: the item that has more of the mean probability of both orders."""
        said = Spoken.of(answers)
        rows, items = shown_items(answers, said)
        pairs, rows = items.reshape(-1, 2), rows[::2]
        first_letter = shares(said)[0::2].reshape(-1, 2)
        for_first = (first_letter[:, 0] + 1 - first_letter[:, 1]) / 2
        # Of an exact tie the lower code: the order of asking is no reason.
        turned = np.where(for_first == 0.5, pairs[:, 0] > pairs[:, 1], for_first < 0.5)
        pairs = np.where(turned[:, None], pairs[:, ::-1], pairs)
        likelihood = np.where(turned, 1 - for_first, for_first)
        agreed = (first_letter[:, 0] - 0.5) * (0.5 - first_letter[:, 1]) > 0
        order = np.lexsort((-likelihood, rows))
        preferred, against = (
            Proposals.open(rows[order], pairs[order, side], likelihood[order]).settled(answers)
            for side in (0, 1)
        )
        outcomes = np.where(preferred.outcomes == OPEN, against.outcomes, preferred.outcomes)
        found = replace(preferred, outcomes=outcomes, against=against.items)
        return found.marked(~agreed[order], UNDECIDED).marked(agreed[order], ACCEPTED)
