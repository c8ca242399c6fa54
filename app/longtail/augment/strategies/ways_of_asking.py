"""How an LLM is asked which of two items a user prefers: by a letter, or by how likely the text of each item is."""

from typing import Literal, Protocol

import numpy as np

from longtail.augment.strategies.candidates import check_context, longest_items, shares
from longtail.augment.strategies.solved_pairs import after_solved
from longtail.augment.strategies.spec import Tools
from longtail.augment.strategies.strategy import Spoken
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Count, Role, StrategySection, Task

TOKENS_AT_ONCE = 32
"""The number of tokens that are scored is a multiple of this, so that a new item rarely changes the question."""


class PreferenceSection(StrategySection):
    """The fields of the strategies that ask which of two items a user prefers."""

    ask: Literal["ab", "likelihood", "pmi"] = "ab"
    """`ab`: A or B, in both orders; if the answers disagree, there is none. `likelihood`: the item whose text the generator
    finds likelier after the user's history. `pmi`: the same, minus the log-probability of the text without a history."""
    shots: Count = 0
    """Solved questions about other users that come before each question (few-shot). For an LLM that was not tuned on such
    questions; it has to write items as titles."""
    gate: bool = True
    """Ask only if the LLM proves on validation items that it knows more than the texts of the items do
    (`augment/gate.py`). If it does not, no preference enters training."""


def role_of(section: PreferenceSection) -> Role:
    return "discriminator" if section.ask == "ab" else "generator"


def task_of(section: PreferenceSection) -> Task:
    return "preference" if section.ask == "ab" else "next_item"


class Way(Protocol):
    """One way to ask about pairs of items. per_pair: the number of prompts of a pair."""

    sampling: Sampling
    per_pair: int
    options: list[int]
    """The tokens that may answer; empty if the answer is not one of several tokens."""

    def prompts(self, history: np.ndarray, pairs: np.ndarray) -> list[np.ndarray]:
        """The prompts about pairs int32 [p, 2], `per_pair` of each."""
        ...

    def read(self, said: Spoken, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each of pairs int32 [p, 2] the probability that the first item is preferred, float64 [p], and whether the LLM
        has answered at all, bool [p].
        """
        ...


class ByLetter:
    """A or B, in both orders, because an LLM may prefer one letter: the mean of the two probabilities counts. If the two
    answers name different items, the LLM has not answered.
    """

    per_pair = 2

    def __init__(self, prompts: Prompts) -> None:
        prompts.check(["preference"])
        self._prompts, self.sampling = prompts, Sampling()
        self.options = [prompts.a, prompts.b]

    def prompts(self, history: np.ndarray, pairs: np.ndarray) -> list[np.ndarray]:
        return [self._prompts.preference(history, *order) for a, b in pairs for order in ((a, b), (b, a))]

    def read(self, said: Spoken, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first_letter = shares(said)[0::2].reshape(-1, 2)
        for_first = (first_letter[:, 0] + 1 - first_letter[:, 1]) / 2
        return for_first, (first_letter[:, 0] - 0.5) * (0.5 - first_letter[:, 1]) > 0


class ByLikelihood:
    """The log-probability of an item's text after the history, summed over its tokens; less_prior: minus that without a
    history. The difference of two items is the logit of the preference. The LLM has not answered if they are equal.
    """

    def __init__(self, section: StrategySection, prompts: Prompts, less_prior: bool = False) -> None:
        self._prompts, self.less_prior, self.options = prompts, less_prior, []
        self.per_pair = 4 if less_prior else 2
        self.sampling = scoring(section, prompts)

    def prompts(self, history: np.ndarray, pairs: np.ndarray) -> list[np.ndarray]:
        befores = (history, history[:0]) if self.less_prior else (history,)
        return [self._prompts.followed(before, item) for pair in pairs for item in pair for before in befores]

    def read(self, said: Spoken, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        each = 1 + self.less_prior
        sums = text_logprobs(said, self._prompts, np.repeat(pairs.ravel(), each)).reshape(-1, 2, each)
        scores = sums[:, :, 0] - (sums[:, :, 1] if self.less_prior else 0)
        lead = scores[:, 0] - scores[:, 1]
        return 1 / (1 + np.exp(-np.clip(lead, -500, 500))), lead != 0


def asking_prompts(section: PreferenceSection, tools: Tools) -> Prompts:
    """The prompts of the LLM, after `shots` solved questions. Raises InputError if they cannot be written."""
    if not section.shots:
        return tools.prompts
    if tools.prompts.rendering != "title":
        raise InputError(
            f"augment, strategy {section.strategy}: shots = {section.shots} shows solved questions to an LLM that was not"
            f" tuned on them, but with llm.items = {tools.prompts.rendering!r} it knows no items before it is tuned. Set"
            " llm.items: title, or shots: 0."
        )
    return after_solved(tools.prompts, tools.solved(section.shots), section.ask == "ab")


def way_of(section: PreferenceSection, prompts: Prompts) -> Way:
    """Raises InputError if the LLM's tokenizer or its context does not allow this way."""
    if section.ask == "ab":
        return ByLetter(prompts)
    return ByLikelihood(section, prompts, less_prior=section.ask == "pmi")


def scoring(section: StrategySection, prompts: Prompts) -> Sampling:
    """The sampling for prompts of `Prompts.followed`. Raises InputError if the context does not hold the longest item."""
    longest = longest_items(prompts, 1)
    check_context(
        section, "ask", prompts, lambda boundless: boundless.followed(longest[:0], int(longest[0])), 1
    )
    tokens = int(np.diff(prompts.items.indptr).max())
    return Sampling(scored=-(-tokens // TOKENS_AT_ONCE) * TOKENS_AT_ONCE)


def text_logprobs(said: Spoken, prompts: Prompts, items: np.ndarray) -> np.ndarray:
    """The log-probability of the whole text of items int [questions], one for each question: float64 [questions]."""
    ends = said.written_starts[1:]
    begins = ends - np.diff(prompts.items.indptr)[items]
    sums = np.concatenate([[0.0], np.cumsum(said.written_logprobs, dtype=np.float64)])
    return sums[ends] - sums[begins]
