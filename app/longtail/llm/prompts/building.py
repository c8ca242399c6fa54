"""Prompts and tuning examples, as token ids: instruction first, then the items, so that prompts share prefixes.

A generator's prompt is a list of items, and the answer continues the list. So one sequence teaches every step of a
history (LLM-I2I, arXiv 2512.21595, L_g: the sum over users and over t = 1..T). A discriminator's prompt asks Yes or No
about one item (L_d). There are three more questions: the rest of a list (LLM4IDRec, arXiv 2411.02041), A or B (cold-start
augmenters, arXiv 2402.11724) and a ranking (Llama4Rec, arXiv 2401.13870). Token ids are joined only here, so that tuning
and inference see the same tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from longtail.errors import InputError
from longtail.llm.prompts.example import LEFT_OUT, Example, answered
from longtail.llm.prompts.item_text import ItemTokens
from longtail.llm.prompts.windows import windows
from longtail.llm.prompts.words import (
    ANSWER,
    CANDIDATE,
    CANDIDATES,
    FIRST,
    HINT,
    ID_LIST,
    NEXT_ITEM,
    NO,
    PREFERENCE,
    QUESTIONS,
    RANKED,
    RANKING,
    REST,
    SECOND,
    SIMILAR,
    TEXTS,
    USER,
    YES,
    YES_NO,
    A,
    B,
)
from longtail.recipe import Task
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_CONTEXT = 2048


class Prompts:
    """Writes prompts and examples for one tokenizer, catalogue and rendering.

    history: how many of the latest interactions a prompt contains. context: the longest prompt in tokens; an example has
    at most one token more.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        items: pa.Table,
        rendering: str,
        history: int,
        context: int,
    ) -> None:
        self.tokenizer, self.rendering = tokenizer, rendering
        self.items = ItemTokens.build(tokenizer, items, rendering)
        self.history, self.context = history, context
        start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._start = np.asarray(start, np.int32)
        self._texts = {text: self._encode(text) for text in TEXTS}
        self.yes, self.no = self._single(YES), self._single(NO)

    @classmethod
    def open(
        cls, llm: Place, items: pa.Table, rendering: str, history: int, context: int = LONGEST_CONTEXT
    ) -> Self:
        """Prompts for the tokenizer in the model folder `llm`; `context` tokens hold a prompt and one token of an answer."""
        # Imported here because it takes 4 s: workers that only write prompts need not wait for it.
        from transformers import AutoTokenizer

        with llm.local() as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        return cls(tokenizer, items, rendering, history, min(tokenizer.model_max_length, context) - 1)

    @cached_property
    def a(self) -> int:
        """The token of the answer A: the first item is preferred."""
        return self._single(A)

    @cached_property
    def b(self) -> int:
        return self._single(B)

    @cached_property
    def end(self) -> int:
        """The token after the last item of an answered list."""
        if self.tokenizer.eos_token_id is None:
            raise InputError(
                "llm.base: its tokenizer has no end-of-text token. Tasks id_list and ranking end a list with it;"
                " choose a base that has one."
            )
        return int(self.tokenizer.eos_token_id)

    def check(self, tasks: Iterable[Task]) -> None:
        """Raise InputError if the tokenizer or the context is not fit for the questions of a task, even without items."""
        for task in tasks:
            needed = len(self._write(*QUESTIONS[task])) + 1
            if needed > self.context:
                raise InputError(
                    f"context: the question of {task} takes {needed} tokens without any item, but the context holds"
                    f" {self.context + 1}; raise context, or choose an llm.base with a longer context."
                )
            if task == "preference" and self.a == self.b:
                raise InputError(f"llm.base: its tokenizer writes {A!r} and {B!r} as the same token.")
            if task in ("id_list", "ranking"):
                _ = self.end

    def after(self, examples: Sequence[np.ndarray]) -> Self:
        """The same prompts, each of them after these examples (tokens of prompt and answer), with a new line between."""
        shown, line = copy(self), self._encode("\n")
        own = (one[len(self._start) :] for one in examples)
        shown._start = np.concatenate([self._start, *(np.append(one, line) for one in own)], dtype=np.int32)
        return shown

    def next_item(self, history: np.ndarray) -> np.ndarray:
        """The generator's prompt for a user's observed items, oldest first."""
        return self._ask(history, NEXT_ITEM).tokens

    def followed(self, history: np.ndarray, item: int) -> np.ndarray:
        """The prompt of `next_item` with `item` after it, to ask how likely that is. The item is never cut."""
        text = self.items.of(item)
        return self._write(self._ask(history, NEXT_ITEM, room=len(text) + 1).tokens, text, started=True)

    def yes_no(self, history: np.ndarray, item: int) -> np.ndarray:
        """The discriminator's prompt for a user's observed items and one candidate."""
        return self._yes_no(history, self.items.of(item)).tokens

    def yes_no_each(self, history: np.ndarray, items: np.ndarray) -> list[np.ndarray]:
        """`yes_no` for each of the items. Items of equal token count share one prompt, copied and filled in."""
        prompts: list[np.ndarray] = []
        first: dict[int, np.ndarray] = {}
        room = self._room()
        for item in items:
            candidate = self.items.of(item)
            if len(candidate) not in first:
                first[len(candidate)] = self.yes_no(history, item)
            prompt = first[len(candidate)].copy()
            end = len(prompt) - len(self._texts[ANSWER])
            held = min(len(candidate), room)
            prompt[end - held : end] = candidate[:held]
            prompts.append(prompt)
        return prompts

    def preference(self, history: np.ndarray, a: int, b: int) -> np.ndarray:
        """Which of items a and b would the user take next? The answer is token `.a` or `.b` (arXiv 2402.11724)."""
        return self._preference(history, self.items.of(a), self.items.of(b)).tokens

    def id_list(self, items: np.ndarray, room: int = 1, user: int | None = None) -> np.ndarray:
        """The prompt of LLM4IDRec (arXiv 2411.02041): some of a user's items, in any order. The answer is the other items.

        room: tokens left for the answer. user: the number of the user, which the paper's prompts name; None: it is left out.
        `history` does not apply, because the paper's prompts contain whole lists.
        """
        return self._ask(items, self._about(user), REST, room=room, latest=len(items)).tokens

    def ranking(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        hint: np.ndarray,
        similar: np.ndarray,
        room: int = 1,
    ) -> np.ndarray:
        """Llama4Rec's listwise prompt (arXiv 2401.13870, prompt augmentation).

        It contains the user's history, the history of the most similar user, the candidates as the recommender ranks
        them (`hint`), and the candidates. The answer is the best of them. room: tokens left for it. An empty hint, and an
        empty history of the similar user, are left out. If the context does not hold everything, the similar user's items
        are left out first, then the user's oldest items, then the hint.
        """
        return self._ranking(history, candidates, hint, similar, room).tokens

    def next_item_examples(self, items: np.ndarray, target_weights: np.ndarray) -> Iterator[Example]:
        """Examples in which every item of a training history is a target exactly once.

        items int32 [T]; target_weights float32 [T], 4 for a long-tail item and 1 for any other (LLM-I2I, arXiv 2512.21595,
        alpha and beta). A window holds `history` + 1 items and moves by half a window. So at least `history` / 2 items
        come before a target, if the user has that many. If `context` limits a window, about half of its tokens come before.
        """
        question = self._write(NEXT_ITEM)
        lengths = self._lengths(items)
        for window in windows(lengths, self.history, self.context - len(question)):
            if window.start == window.end:
                yield LEFT_OUT
                continue
            inside = slice(window.start, window.end)
            weights = target_weights[inside] * (np.arange(window.start, window.end) >= window.first)
            yield Example(
                self._write(question, *map(self.items.of, items[inside]), started=True),
                np.concatenate([np.zeros(len(question)), np.repeat(weights, lengths[inside])]).astype(
                    np.float32
                ),
                window.cut,
            )

    def next_item_example(self, history: np.ndarray, item: int) -> Example:
        """A prompt, as at inference, and one item with loss on its tokens."""
        answer = self.items.of(item)
        return answered(self._ask(history, NEXT_ITEM, room=len(answer)), answer)

    def yes_no_example(self, history: np.ndarray, candidate: np.ndarray, taken: bool) -> Example:
        """Loss on the one token of the answer. candidate: the tokens of an item."""
        return answered(self._yes_no(history, candidate), [self.yes if taken else self.no])

    def preference_example(self, history: np.ndarray, a: np.ndarray, b: np.ndarray, a_taken: bool) -> Example:
        """Loss on the one token of the answer. a, b: the tokens of two items."""
        return answered(self._preference(history, a, b), [self.a if a_taken else self.b])

    def id_list_example(
        self, given: np.ndarray, rest: np.ndarray, ended: bool = True, user: int | None = None
    ) -> Example:
        """Loss on the rest of a list and, if `ended`, on its end token."""
        answer = self._list(rest, ended)
        asked = self._ask(given, self._about(user), REST, room=len(answer), latest=len(given))
        return answered(asked, answer)

    def ranking_example(
        self,
        history: np.ndarray,
        candidates: np.ndarray,
        hint: np.ndarray,
        similar: np.ndarray,
        ranked: np.ndarray,
        ended: bool = True,
    ) -> Example:
        """Loss on the ranked items and, if `ended`, on the end token of the list."""
        answer = self._list(ranked, ended)
        return answered(self._ranking(history, candidates, hint, similar, len(answer)), answer)

    def fitting(self, items: np.ndarray, user: int | None = None) -> int:
        """How many of `items`, from the first on, fit in one example of id_list: prompt, answer and end token."""
        room = self.context - len(self._write(self._about(user), REST))
        lengths = self._lengths(items)
        return int(np.searchsorted(np.cumsum(lengths), room, side="right"))

    def _room(self) -> int:
        """How many tokens of a candidate fit in a yes_no prompt."""
        return max(self.context - len(self._write(*QUESTIONS["yes_no"])), 0)

    def _yes_no(self, history: np.ndarray, candidate: np.ndarray) -> Example:
        return self._ask(history, YES_NO, CANDIDATE, candidate[: self._room()], ANSWER)

    def _preference(self, history: np.ndarray, a: np.ndarray, b: np.ndarray) -> Example:
        room = self.context - len(self._write(*QUESTIONS["preference"]))
        first, second = (written[: max(room, 0) // 2] for written in (a, b))
        return self._ask(history, PREFERENCE, FIRST, first, SECOND, second, ANSWER)

    def _ranking(
        self, history: np.ndarray, candidates: np.ndarray, hint: np.ndarray, similar: np.ndarray, room: int
    ) -> Example:
        listed = [CANDIDATES, self._list(candidates), RANKED]
        hinted = [HINT, self._list(hint), *listed] if len(hint) else listed
        if self._left(RANKING, *hinted, room=room) < 0:
            return self._ask(history, RANKING, *listed, room=room)
        asked = self._ask(history, RANKING, *hinted, room=room)
        left = self.context + 1 - room - len(asked.tokens) - len(self._texts[SIMILAR])
        alike = self.items.join(similar[-self.history :], left)
        if asked.cut or not len(alike):
            return asked
        own = len(asked.tokens) - len(self._write(*hinted, started=True))
        tokens = self._write(asked.tokens[:own], SIMILAR, alike, asked.tokens[own:], started=True)
        return Example(tokens, asked.weights, asked.cut)

    def _about(self, user: int | None) -> str | np.ndarray:
        """The instruction of id_list, with the number of the user if it is to be named."""
        if user is None:
            return ID_LIST
        return self._write(ID_LIST, self._encode(USER.format(user)), started=True)

    def _ask(
        self,
        history: np.ndarray,
        instruction: str | np.ndarray,
        *rest: str | np.ndarray,
        room: int = 1,
        latest: int | None = None,
    ) -> Example:
        """A prompt that leaves `room` tokens for the answer: instruction, the latest items that fit, the rest.

        It has no weights, because there is no answer yet. LEFT_OUT if the rest does not fit even without items.
        """
        left = self._left(instruction, *rest, room=room)
        if left < 0:
            return LEFT_OUT
        asked = history[-(latest or self.history) :]
        held = self.items.join(asked, left)
        cut = len(held) < self._lengths(asked).sum()
        return Example(self._write(instruction, held, *rest), np.empty(0, np.float32), bool(cut))

    def _left(self, *parts: str | np.ndarray, room: int) -> int:
        return self.context + 1 - room - len(self._write(*parts))

    def _lengths(self, items: np.ndarray) -> np.ndarray:
        """Number of tokens of each item."""
        return self.items.indptr[1:][items] - self.items.indptr[:-1][items]

    def _list(self, items: np.ndarray, ended: bool = False) -> np.ndarray:
        end = np.asarray([self.end] if ended else [], np.int32)
        return self._write(*map(self.items.of, items), end, started=True)

    def _write(self, *parts: str | np.ndarray, started: bool = False) -> np.ndarray:
        """The parts, joined. The start token comes first, if not `started`. A str is one of TEXTS."""
        start = [] if started else [self._start]
        pieces = [*start, *(self._texts[part] if isinstance(part, str) else part for part in parts)]
        return np.concatenate(pieces, dtype=np.int32)

    def _encode(self, text: str) -> np.ndarray:
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)

    def _single(self, word: str) -> int:
        """The token of a word. It must be one token, because a confidence is the probability of one token."""
        ids = self._encode(word)
        if len(ids) != 1:
            raise InputError(
                f"llm.base: its tokenizer writes {word!r} as {len(ids)} tokens; choose a base that writes it as one."
            )
        return int(ids[0])
