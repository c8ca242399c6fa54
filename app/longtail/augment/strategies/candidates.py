"""What strategies share: drawing the items to show, checking that they fit the context, and reading the answers."""

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
    """`count` different items of `pool` (int32) that are not in the history, in random order; fewer if there are no more.

    It draws `count` items and one more for each item of the history, so that enough are left without the history.
    """
    drawn = rng.choice(pool, min(len(pool), count + len(history)), replace=False)
    return drawn[~np.isin(drawn, history)][:count]


def longest_items(prompts: Prompts, count: int) -> np.ndarray:
    """The `count` items that take the most tokens in a prompt."""
    return np.argsort(-np.diff(prompts.items.indptr), kind="stable")[:count]


def check_context(
    section: StrategySection,
    setting: str,
    prompts: Prompts,
    write: Callable[[Prompts], np.ndarray],
    room: int,
) -> None:
    """Raise InputError if the prompt that `write` makes and `room` tokens of an answer do not fit into the context."""
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
    """The probability of every option among the options of its question, a softmax: float64 [options]."""
    if not len(said.options):
        return np.zeros(0)
    starts, lengths = said.option_starts[:-1], np.diff(said.option_starts)
    logprobs = said.option_logprobs.astype(np.float64)
    weights = np.exp(logprobs - np.maximum.reduceat(logprobs, starts).repeat(lengths))
    return weights / np.add.reduceat(weights, starts).repeat(lengths)


def shown_items(answers: pa.Table, said: Spoken) -> tuple[np.ndarray, np.ndarray]:
    """Row and item of everything that was `shown` in the rows that have answers, in the order of the questions."""
    rows, items = listed(answers, "shown")
    answered = np.isin(rows, said.rows)
    return rows[answered], items[answered]


def questioned(answers: pa.Table) -> Proposals:
    """For one question per shown item: the items with the probability of the first option, the likeliest first."""
    said = Spoken.of(answers)
    rows, items = shown_items(answers, said)
    likelihood = shares(said)[0::2]
    order = np.lexsort((-likelihood, rows))
    return Proposals.open(rows[order], items[order], likelihood[order])


def offered(answers: pa.Table, catalogue: Catalogue) -> Proposals:
    """For one question whose options are item tokens: the items with their probability, the likeliest first."""
    said = Spoken.of(answers)
    rows, likelihood = np.repeat(said.rows, np.diff(said.option_starts)), shares(said)
    order = np.lexsort((-likelihood, rows))
    return Proposals.open(rows[order], catalogue.of_tokens(said.options)[order], likelihood[order])


def next_tokens(answers: pa.Table, catalogue: Catalogue) -> Proposals:
    """The likeliest next tokens. A token that is no item is a proposal too, with the outcome NOT_IN_CATALOGUE."""
    said = Spoken.of(answers)
    rows = np.repeat(said.rows, np.diff(said.option_starts))
    items = catalogue.of_tokens(said.options)
    found = Proposals.open(rows, items, np.exp(said.option_logprobs))
    return found.marked(items == NOTHING, NOT_IN_CATALOGUE)


def written(answers: pa.Table, reader: ListReader) -> Proposals:
    """The written items, in their order. An item that was not `shown` does not answer the question: it is UNPARSABLE."""
    found = reader.read(answers)
    strange = ~found.among(answers, "shown")
    return replace(
        found.marked(strange, UNPARSABLE), items=np.where(strange, NOTHING, found.items).astype(np.int32)
    )
