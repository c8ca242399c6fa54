"""Strategy ranking: a recommender's best items, ranked again by an LLM (Llama4Rec, 2401.13870).

All of them become proposals, because the result is a ranking for serving, not a set of interactions.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from longtail.augment.proposals import CODES, NOTHING, OPEN, Proposals
from longtail.augment.strategies.candidates import (
    check_context,
    longest_items,
    offered,
    questioned,
    shown_items,
    written,
)
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import StrategySection
from longtail.registry import recommender_spec, recommenders
from longtail.schema import ACCEPTED, DUPLICATE

if TYPE_CHECKING:
    from longtail.llm.prompts.hints import Hints


class RankingSection(StrategySection):
    """Llama4Rec: a recommender's best items, ranked again by the LLM."""

    strategy: Literal["ranking"] = "ranking"
    recommender: str = "itemcf"
    """The recommender whose best items are ranked. It is fitted on the observed log before the LLM is asked. The list is
    fused with this recommender only."""
    mode: Literal["listwise", "pointwise"] = "listwise"
    candidates: Annotated[int, Field(ge=2, le=64)] = 10
    """k' of the paper, which does not give its value; 10 in the authors' sister code (RecRanker)."""

    @field_validator("recommender")
    @classmethod
    def _item_to_item(cls, name: str) -> str:
        if name not in recommenders() or not recommender_spec(name).item_to_item:
            able = [one for one in recommenders() if recommender_spec(one).item_to_item]
            raise ValueError(f"give a recommender that ranks by neighbours of items: {', '.join(able)}")
        return name


class Listwise:
    """One request per user, one question: Llama4Rec's prompt. It has the recommender's order as a hint, and the training
    history of the most similar user. `shown` is the candidates in the recommender's order; the prompt shuffles them.
    """

    questions = 1

    def __init__(self, section: RankingSection, tools: Tools) -> None:
        prompts, catalogue = tools.prompts, tools.catalogue
        self.section, self.prompts, self.catalogue = section, prompts, catalogue
        self.hints: Callable[[], Hints] = tools.hints(section.recommender)
        self.prior_list = tools.tuning.prior_list
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
        """Nothing if the recommender has fewer than two items for a user."""
        hints = self.hints()
        best = hints.top(history, self.section.candidates)
        if len(best) < 2:
            return []
        similar = hints.similar(user, history)
        hint = best if self.prior_list else best[:0]
        prompt = self.prompts.ranking(history, rng.permutation(best), hint, similar, self.room)
        token = self.catalogue.rendering == "token"
        return [Asked([prompt], best, self.catalogue.tokens(best) if token else ())]

    def read(self, answers: pa.Table) -> Proposals:
        if self.catalogue.rendering == "token":
            return _accepted(offered(answers, self.catalogue), answers)
        return self._listed(answers)

    def _listed(self, answers: pa.Table) -> Proposals:
        """The written list, and after it the missing candidates in the recommender's order.

        A list without any candidate ranks nothing. likelihood: 1 for the first of n, 1/n for the last. This is Llama4Rec's
        utility -s C of place s (2401.13870), scaled to 0..1. The probability of the text is no use: it does not fall along
        the list.
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
    """One request per user, with a Yes/No question for each candidate; `shown` is the candidates."""

    def __init__(self, section: RankingSection, tools: Tools) -> None:
        self.section, self.prompts = section, tools.prompts
        self.hints: Callable[[], Hints] = tools.hints(section.recommender)
        self.prompts.check(["yes_no"])
        self.questions = section.candidates
        self.sampling = Sampling()

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """Nothing if the recommender has fewer than two items for a user."""
        best = self.hints().top(history, self.section.candidates)
        if len(best) < 2:
            return []
        asked = [self.prompts.yes_no(history, item) for item in best]
        return [Asked(asked, best, [self.prompts.yes, self.prompts.no])]

    def read(self, answers: pa.Table) -> Proposals:
        """By P(Yes); of equal ones, the recommender's order decides."""
        return _accepted(questioned(answers), answers)


def _accepted(found: Proposals, answers: pa.Table) -> Proposals:
    return found.settled(answers).marked(found.items != NOTHING, ACCEPTED)


def _followed(found: Proposals, rows: np.ndarray, items: np.ndarray) -> Proposals:
    """In each row the written proposals, and after them those of `items` that were not written."""
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


def by_mode(listwise: str, pointwise: str) -> Callable[[RankingSection], str]:
    """A function of the section: one value for the mode `listwise`, and one for `pointwise`."""
    return lambda section: pointwise if section.mode == "pointwise" else listwise


def build(section: RankingSection, tools: Tools) -> Listwise | Pointwise:
    return (Pointwise if section.mode == "pointwise" else Listwise)(section, tools)


SPEC = StrategySpec(
    settings=RankingSection,
    build=build,
    role=by_mode(listwise="generator", pointwise="discriminator"),
    task=by_mode(listwise="ranking", pointwise="yes_no"),
    ranks=True,
    answers="score",
)
