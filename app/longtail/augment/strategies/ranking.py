"""Strategy ranking: a recommender's best items, ranked again by an LLM (Llama4Rec, 2401.13870, papers 2.2 to 2.4).

All of them become proposals, for what comes out is a ranking that serving reads, not interactions. A held-out item may be
among them as any other: the recommender does not know it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import CODES, NOTHING, OPEN, Proposals
from longtail.augment.strategies.candidates import (
    check_context,
    longest_items,
    offered,
    questioned,
    shown_items,
    written,
)
from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.hints import Hints
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Ranking as Section
from longtail.schema import ACCEPTED, DUPLICATE


class Listwise:
    """One request per user, one question: Llama4Rec's prompt, with the recommender's order as a hint and the training
    history of the most similar user. `shown` are the candidates as the recommender ranks them; the prompt shuffles them.
    """

    name = "ranking"
    role = "generator"
    questions = 1
    judged = False

    def __init__(
        self, section: Section, prompts: Prompts, catalogue: Catalogue, hints: Callable[[], Hints]
    ) -> None:
        self.section, self.prompts, self.catalogue, self.hints = section, prompts, catalogue, hints
        prompts.check(["ranking"])
        self.room = 1
        if catalogue.rendering != "token":
            self.reader = ListReader(prompts.tokenizer, catalogue)
            self.room = self.reader.room(section.candidates, prompts)
        self.sampling = Sampling(self.room)
        longest = longest_items(prompts, section.candidates)
        check_context(
            section,
            "candidates",
            prompts,
            lambda boundless: boundless.ranking(longest[:1], longest, longest, longest[:0], self.room),
            self.room,
        )

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """Nothing where the recommender has fewer than two items for a user."""
        hints = self.hints()
        best = hints.top(history, self.section.candidates)
        if len(best) < 2:
            return []
        similar = hints.similar(user, history)
        prompt = self.prompts.ranking(history, rng.permutation(best), best, similar, self.room)
        token = self.catalogue.rendering == "token"
        return [Asked([prompt], best, self.catalogue.tokens(best) if token else ())]

    def read(self, answers: pa.Table) -> Proposals:
        if self.catalogue.rendering == "token":
            return _accepted(offered(answers, self.catalogue), answers)
        return self._listed(answers)

    def _listed(self, answers: pa.Table) -> Proposals:
        """The written list, and behind it the candidates that it leaves out, as the recommender ranks them.

        A list without any candidate ranks nothing. likelihood: 1 for the first of n, 1/n for the last, which is Llama4Rec's
        utility -s C of place s (papers 2.4) within 0..1; the probability of a text does not fall along a list.
        """
        found = written(answers, self.reader)
        rows, items = shown_items(answers, Spoken.of(answers))
        behind = np.isin(rows, found.rows[found.items != NOTHING])
        found = _followed(found, rows[behind], items[behind]).settled(answers)
        ranked = (found.items != NOTHING) & (found.outcomes != CODES[DUPLICATE])
        counts = np.bincount(found.rows[ranked], minlength=len(answers))[found.rows]
        likelihood = np.where(ranked, 1 - found.places(ranked) / np.maximum(counts, 1), 0)
        return _accepted(replace(found, likelihood=likelihood.astype(np.float32)), answers)


class Pointwise:
    """One request per user, a question Yes or No of each candidate; `shown` are the candidates."""

    name = "ranking"
    role = "discriminator"
    judged = False

    def __init__(self, section: Section, prompts: Prompts, hints: Callable[[], Hints]) -> None:
        self.section, self.prompts, self.hints = section, prompts, hints
        prompts.check(["yes_no"])
        self.questions = section.candidates
        self.sampling = Sampling()

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """Nothing where the recommender has fewer than two items for a user."""
        best = self.hints().top(history, self.section.candidates)
        if len(best) < 2:
            return []
        asked = [self.prompts.yes_no(history, item) for item in best]
        return [Asked(asked, best, [self.prompts.yes, self.prompts.no])]

    def read(self, answers: pa.Table) -> Proposals:
        """By P(Yes), equal ones as the recommender ranks them."""
        return _accepted(questioned(answers), answers)


def _accepted(found: Proposals, answers: pa.Table) -> Proposals:
    return found.settled(answers).marked(found.items != NOTHING, ACCEPTED)


def _followed(found: Proposals, rows: np.ndarray, items: np.ndarray) -> Proposals:
    """Written proposals, and in each row behind them those of `items` that are not among them."""
    named = {*zip(found.rows.tolist(), found.items.tolist(), strict=True)}
    left = [pair not in named for pair in zip(rows.tolist(), items.tolist(), strict=True)]
    rows, items = rows[left], items[left]
    order = np.argsort(np.concatenate([found.rows, rows]), kind="stable")
    texts = [*(found.texts or []), *[None] * len(rows)]
    return Proposals(
        np.concatenate([found.rows, rows])[order],
        np.concatenate([found.items, items])[order],
        np.concatenate([found.likelihood, np.zeros(len(rows), np.float32)])[order],
        np.concatenate([found.outcomes, np.full(len(rows), OPEN, np.int8)])[order],
        texts=[texts[place] for place in order],
    )
