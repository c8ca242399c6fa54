"""Solved questions, which come before a question (few-shot): pairs of items of which the training log knows the answer."""

from typing import NamedTuple

import numpy as np

from longtail.arrays import views_of
from longtail.augment.strategies.strategy import rng_of
from longtail.llm.prompts.building import Prompts
from longtail.workspace.place import Place


class SolvedPair(NamedTuple):
    """history int32 [n]: training items of a user, oldest first. taken: the one that followed. other: one not taken."""

    history: np.ndarray
    taken: int
    other: int


def solved_pairs(histories: Place, n_items: int, count: int, seed: int) -> list[SolvedPair]:
    """At most `count` pairs of different users of one file of `schema.HISTORIES`, drawn by seed. Runs as a Ray task."""
    table = histories.read_table(["items", "train_end", "valid_end"]).combine_chunks()
    train = table["train_end"].to_numpy()
    items, valid = views_of(table["items"].combine_chunks()), table["valid_end"].to_numpy()
    found = []
    for row in rng_of(seed, 0).permutation(np.flatnonzero(train > 1)):
        known, rng = items[row][: max(train[row], valid[row])], rng_of(seed, row + 1)
        free = np.setdiff1d(rng.integers(0, n_items, 64), known)
        if len(found) < count and len(free):
            found.append(
                SolvedPair(known[: train[row] - 1], int(known[train[row] - 1]), int(rng.choice(free)))
            )
    return found


def after_solved(prompts: Prompts, pairs: list[SolvedPair], by_letter: bool) -> Prompts:
    """The prompts, each of them after solved questions of the same form.

    by_letter: A or B; in every second pair the item taken is B. Otherwise the item taken follows the history.
    """
    examples = []
    for place, (history, taken, other) in enumerate(pairs):
        if by_letter:
            a, b = (taken, other) if place % 2 == 0 else (other, taken)
            of = prompts.items.of
            examples.append(prompts.preference_example(history, of(a), of(b), a_taken=place % 2 == 0))
        else:
            examples.append(prompts.next_item_example(history, taken))
    return prompts.after([example.tokens for example in examples])
