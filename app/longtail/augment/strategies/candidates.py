"""What strategies share: drawing the items to be shown, whether the context holds them, and reading what was said."""

import sys
from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import NOTHING, Proposals, listed
from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Rng, Spoken
from longtail.augment.strategies.written_lists import ListReader
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.recipe import StrategySection
from longtail.schema import NOT_IN_CATALOGUE, UNPARSABLE


def unseen(rng: Rng, pool: np.ndarray, history: np.ndarray, count: int) -> np.ndarray:
    """`count` different items of `pool` int32 that are not in the history, in random order; fewer where it has no more.

    So many are drawn that enough are left without the history's own: the cost does not grow with the catalogue.
    """
    drawn = rng.choice(pool, min(len(pool), count + len(history)), replace=False)
    return drawn[~np.isin(drawn, history)][:count]


def longest_items(prompts: Prompts, count: int) -> np.ndarray:
    """The items that take most tokens in a prompt."""
    return np.argsort(-np.diff(prompts.items.indptr), kind="stable")[:count]


def check_context(
    section: StrategySection,
    setting: str,
    prompts: Prompts,
    write: Callable[[Prompts], np.ndarray],
    room: int,
) -> None:
    """Raise InputError where the context holds less than the prompt that `write` makes and `room` tokens of an answer."""
    boundless = copy(prompts)
    boundless.context = sys.maxsize
    needed = len(write(boundless)) + room
    if needed > prompts.context + 1:
        raise InputError(
            f"augment, strategy {section.strategy}: {setting} = {getattr(section, setting)} takes up to {needed} tokens with"
            f" the catalogue's longest items, {room} of them for the answer; the context holds {prompts.context + 1}."
            f" Lower {setting}, raise the generator's context, or choose an llm.base that takes longer texts."
        )


def shares(said: Spoken) -> np.ndarray:
    """Of every option its part of the probability of its question's options, a softmax: float64 [options]."""
    if not len(said.options):
        return np.zeros(0)
    starts, lengths = said.option_starts[:-1], np.diff(said.option_starts)
    logprobs = said.option_logprobs.astype(np.float64)
    weights = np.exp(logprobs - np.maximum.reduceat(logprobs, starts).repeat(lengths))
    return weights / np.add.reduceat(weights, starts).repeat(lengths)


def shown_items(answers: pa.Table, said: Spoken) -> tuple[np.ndarray, np.ndarray]:
    """Row and item of everything that was `shown` in the rows that have answers, as the questions went through it."""
    rows, items = listed(answers, "shown")
    answered = np.isin(rows, said.rows)
    return rows[answered], items[answered]


def questioned(answers: pa.Table) -> Proposals:
    """The items that were shown one a question, with what its first option has of the probability; likeliest first."""
    said = Spoken.of(answers)
    rows, items = shown_items(answers, said)
    likelihood = shares(said)[0::2]
    order = np.lexsort((-likelihood, rows))
    return Proposals.open(rows[order], items[order], likelihood[order])


def offered(answers: pa.Table, catalogue: Catalogue) -> Proposals:
    """The items whose tokens were the options of one question, with their part of the probability; likeliest first."""
    said = Spoken.of(answers)
    rows, likelihood = np.repeat(said.rows, np.diff(said.option_starts)), shares(said)
    order = np.lexsort((-likelihood, rows))
    return Proposals.open(rows[order], catalogue.of_tokens(said.options)[order], likelihood[order])


def next_tokens(answers: pa.Table, catalogue: Catalogue) -> Proposals:
    """The likeliest next tokens. A token that is no item is a proposal too, of something outside the catalogue."""
    said = Spoken.of(answers)
    rows = np.repeat(said.rows, np.diff(said.option_starts))
    items = catalogue.of_tokens(said.options)
    found = Proposals.open(rows, items, np.exp(said.option_logprobs))
    return found.marked(items == NOTHING, NOT_IN_CATALOGUE)


def written(answers: pa.Table, reader: ListReader) -> Proposals:
    """What was written, in its order. An item that was not `shown` is no answer to the question: it is unparsable."""
    found = reader.read(answers)
    strange = ~found.among(answers, "shown")
    return replace(
        found.marked(strange, UNPARSABLE), items=np.where(strange, NOTHING, found.items).astype(np.int32)
    )
