"""What the LLMs learn: the examples of each task of the recipe, from one user's training history."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pyarrow as pa

from longtail.data.catalogue import TAIL
from longtail.llm.examples.title_noise import TitleNoise
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.example import LEFT_OUT, Example
from longtail.llm.prompts.hints import Hints
from longtail.recipe import Negative, Task, Tuning

ROUNDS = 100
"""How often a negative is drawn again if the user took the item; after that there is no negative."""


@dataclass(frozen=True)
class History:
    """A user's training history, int32 [T], oldest first. hard int32 [T, n]: the generator's misses at steps 1..T, -1 for
    none; the field is None if the recipe asks for no hard negatives.
    """

    user: int
    items: np.ndarray
    hard: np.ndarray | None = None


class Tasks:
    """Writes the examples of one recipe section. The same seed and history give the same examples on any machine.

    A held-out item is never in a prompt or a target of `train`. It may be drawn as a negative, like any other item that
    is not in the training history: if it were never drawn, that would leak which item is held out.
    """

    def __init__(self, prompts: Prompts, section: Tuning, items: pa.Table, seed: int) -> None:
        self.prompts, self.section, self.seed = prompts, section, seed
        self.n_items = items.num_rows
        self.tail = np.asarray(items["slice"].to_pylist()) == TAIL
        counts = items["train_count"].to_numpy().astype(np.float64)
        self.popularity = np.cumsum(counts) / max(counts.sum(), 1)
        noisy = section.title_noise > 0 and prompts.rendering == "title"
        self.noise = TitleNoise(prompts, items) if noisy else None

    def train(self, task: Task, history: History, hints: Hints | None = None) -> Iterator[Example]:
        """The examples of a task, weighted as the recipe says; none if the history is too short.

        hints: needed for `ranking` only. LEFT_OUT stands for an example that does not fit in the context.
        """
        write = {
            "next_item": self._next_item,
            "yes_no": self._yes_no,
            "id_list": self._id_list,
            "preference": self._preference,
        }
        rng = self._rng(task, history.user, 0)
        examples = self._ranking(history, rng, hints) if task == "ranking" else write[task](history, rng)
        for example in examples:
            weights = example.weights
            if self.section.loss == "all":
                weights = np.where(weights > 0, weights, np.float32(1))
                weights[:1] = 0  # no token comes before it, so it cannot be predicted
            yield replace(example, weights=weights * np.float32(self.section.tasks[task]))

    def validation(
        self, task: Task, history: History, target: int, hints: Hints | None = None
    ) -> Iterator[Example]:
        """Examples whose answer is the validation item; in yes_no and preference the question is about it.

        Tokens have the weight of their task, so that a side task does not decide when tuning ends. There are no other
        weights, so that mean losses of recipes with one task can be compared. A list is asked for its next item only,
        because other items of the list may follow.
        """
        weight = np.float32(self.section.tasks[task])
        for example in self._about(task, history, target, hints):
            yield replace(example, weights=example.weights * weight)

    def _about(self, task: Task, history: History, target: int, hints: Hints | None) -> Iterator[Example]:
        """The examples of `validation`, with weight 1 on each answer token."""
        rng, prompts, items = self._rng(task, history.user, 1), self.prompts, history.items
        if task == "next_item":
            yield prompts.next_item_example(items, target)
        elif task == "id_list":
            shown, user = rng.permutation(items), self._number(history)
            yield prompts.id_list_example(shown, np.array([target]), ended=False, user=user)
        elif task == "ranking":
            candidates = rng.permutation(
                np.append(self._unseen(rng, items, self._length - 1, target), target)
            )
            hint = self._hint(hints, items, candidates, items[:0])
            similar = hints.similar(history.user, items)
            yield prompts.ranking_example(items, candidates, hint, similar, np.array([target]), ended=False)
        else:
            hard = None if history.hard is None else history.hard[-1:]
            others = self._others(rng, np.append(items, target), hard, 1)[0]
            others = others[(others >= 0) & (others != target)]
            if task == "yes_no":
                yield prompts.yes_no_example(items, prompts.items.of(target), taken=True)
                for item in others:
                    yield prompts.yes_no_example(items, prompts.items.of(item), taken=False)
            elif len(others):
                yield self._pair(items, *map(prompts.items.of, (target, rng.choice(others))), rng)

    def _next_item(self, history: History, rng: np.random.Generator) -> Iterator[Example]:
        weights = np.where(self.tail[history.items], self.section.tail_weight, 1.0)
        return self.prompts.next_item_examples(history.items, weights.astype(np.float32))

    def _yes_no(self, history: History, rng: np.random.Generator) -> Iterator[Example]:
        """L_d of LLM-I2I (arXiv 2512.21595): at every step, the item taken and other items."""
        for before, item, others in self._steps(history, rng):
            yield self.prompts.yes_no_example(before, self._written(item, rng), taken=True)
            for other in others:
                yield self.prompts.yes_no_example(before, self._written(other, rng), taken=False)

    def _preference(self, history: History, rng: np.random.Generator) -> Iterator[Example]:
        """At every step, the item taken against each of the other items, in random order."""
        for before, item, others in self._steps(history, rng):
            for other in others:
                yield self._pair(before, self._written(item, rng), self._written(other, rng), rng)

    def _written(self, item: int, rng: np.random.Generator) -> np.ndarray:
        """A candidate's tokens; a share `title_noise` of candidates has noise, the same share for every answer."""
        if self.noise is None or rng.random() >= self.section.title_noise:
            return self.prompts.items.of(item)
        return self.noise.written(item, rng)

    def _pair(
        self, before: np.ndarray, taken: np.ndarray, other: np.ndarray, rng: np.random.Generator
    ) -> Example:
        first = bool(rng.integers(2))
        a, b = (taken, other) if first else (other, taken)
        return self.prompts.preference_example(before, a, b, a_taken=first)

    def _id_list(self, history: History, rng: np.random.Generator) -> Iterator[Example]:
        """LLM4IDRec (arXiv 2411.02041): the history shuffled and split, `splits` times.

        If the history does not fit in the context, a random part of it is split: the paper's "randomly generating".
        """
        user = self._number(history)
        for _ in range(self.section.splits if len(history.items) >= 3 else 0):
            shuffled = rng.permutation(history.items)
            held = self.prompts.fitting(shuffled, user)
            if held < 3:
                yield LEFT_OUT
                continue
            split = rng.integers(1, held - 1)
            example = self.prompts.id_list_example(shuffled[:split], shuffled[split:held], user=user)
            yield replace(example, cut=held < len(shuffled))

    def _ranking(self, history: History, rng: np.random.Generator, hints: Hints) -> Iterator[Example]:
        """Llama4Rec's list (arXiv 2401.13870). Half of the candidates are the user's last items, but at most half of the
        history. They are to be ranked in the order in which the user took them.
        """
        items = history.items
        wanted = min(self._length // 2, len(items) // 2)
        if not wanted:
            return
        before, targets = items[:-wanted], items[-wanted:]
        unseen = self._unseen(rng, items, self._length - wanted)
        candidates = rng.permutation(np.concatenate([targets, unseen]))
        hint = self._hint(hints, before, candidates, targets)
        similar = hints.similar(history.user, before)
        yield self.prompts.ranking_example(before, candidates, hint, similar, targets)

    def _number(self, history: History) -> int | None:
        """The user's number, if prompts of id_list name it."""
        return history.user if self.section.user_number else None

    def _hint(
        self, hints: Hints, before: np.ndarray, candidates: np.ndarray, targets: np.ndarray
    ) -> np.ndarray:
        """The recommender's order of the candidates; empty if prompts do not have it."""
        return hints.ranked(before, candidates, targets) if self.section.prior_list else candidates[:0]

    @property
    def _length(self) -> int:
        return max(2, self.section.candidates)

    def _steps(
        self, history: History, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """(items before, the item taken, other items) for each of the steps 1..T-1."""
        items = history.items
        steps = max(len(items) - 1, 0)
        hard = None if history.hard is None else history.hard[:steps]
        others = self._others(rng, items, hard, steps)
        for step in range(1, len(items)):
            drawn = others[step - 1]
            yield items[:step], items[step], drawn[drawn >= 0]

    def _others(
        self, rng: np.random.Generator, taken: np.ndarray, hard: np.ndarray | None, steps: int
    ) -> np.ndarray:
        """Items not in `taken` for each step, `negatives_per_positive` of each kind; -1 if none was found."""
        shape = (steps, self.section.negatives_per_positive)
        kinds = (
            hard if kind == "hard" else self._outside(rng, kind, taken, shape)
            for kind in self.section.negatives
        )
        return np.concatenate([*kinds], axis=1)

    def _outside(
        self, rng: np.random.Generator, kind: Negative, taken: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        drawn = np.full(shape, -1)
        wrong = np.ones(shape, bool)
        for _ in range(ROUNDS):
            if kind == "popular":
                drawn[wrong] = np.searchsorted(self.popularity, rng.random(wrong.sum()), side="right")
            else:
                drawn[wrong] = rng.integers(self.n_items, size=wrong.sum())
            wrong = np.isin(drawn, taken) | (drawn >= self.n_items)
            if not wrong.any():
                break
        drawn[wrong] = -1
        return drawn

    def _unseen(self, rng: np.random.Generator, taken: np.ndarray, count: int, *more: int) -> np.ndarray:
        """`count` distinct random items that are not in `taken` or `more`; fewer if the catalogue is too small."""
        drawn = self._outside(rng, "random", np.append(taken, more), (4 * count,))
        _, first = np.unique(drawn, return_index=True)
        distinct = drawn[np.sort(first)]
        return distinct[distinct >= 0][:count].astype(np.int32)

    def _rng(self, task: Task, user: int, part: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, user, get_args(Task).index(task), part))
