"""Strategy next_item: the items that a user would take next (LLM-I2I, 2512.21595).

With the `token` rendering one prefill proposes all items at once: the likeliest next tokens are items with their
probabilities, nothing is decoded. With `title` and `id` the generator goes on writing the user's list.
"""

from typing import Any, Self

import numpy as np
import pyarrow as pa

from app.data import Prepared
from app.data.catalogue import COLD, TAIL
from app.llm.engine import MAX_LOGPROBS, Row, decoded, top_logprobs
from app.llm.grounding import Grounder
from app.llm.items import item_texts, separator
from app.llm.prompts import Prompts
from app.recipe import LLM, NextItem, Tuning
from app.schema import ALREADY_SEEN, DUPLICATE, HELD_OUT, NOT_IN_CATALOGUE, UNPARSABLE
from app.workspace import Place, fingerprint

Proposal = dict[str, Any]
"""text, item (None where nothing was grounded), outcome (None while it is still to be judged), likelihood."""


class NextItemStrategy:
    """One request per user: the generator's prompt is the user's latest training interactions."""

    name = "next_item"

    def __init__(self, section: NextItem, prompts: Prompts, items: pa.Table, rendering: str) -> None:
        self.section, self.prompts, self.rendering = section, prompts, rendering
        self.tokenizer = prompts.tokenizer
        self.long_item = int(np.quantile(np.diff(prompts.items.indptr), 0.95))  # tokens
        self.grounder = Grounder(items, rendering)
        self.texts = item_texts(items, rendering)
        self.rare = rare_items(items)
        self.first_item_token = (
            self.tokenizer.convert_tokens_to_ids(self.texts[0]) if rendering == "token" else -1
        )

    @classmethod
    def open(cls, section: NextItem, llm: LLM, tuning: Tuning, generator: Place, items: pa.Table) -> Self:
        """For a tuned generator."""
        prompts = Prompts.open(generator, items, llm.items, tuning.history, tuning.context)
        return cls(section, prompts, items, llm.items)

    def requests(self, prepared: Prepared, asked: list[Any]) -> Any:
        """One row per request: request_id, user, history (train part), held_out. A user without history has none.

        asked: what a request depends on besides its user (data, LLMs, settings, prompt version); part of its hash.
        """
        return prepared.histories().map_batches(_requests, batch_format="pyarrow", fn_kwargs={"asked": asked})

    def question(self, row: Row) -> tuple[list[int], Row]:
        """The prompt's token ids and the sampling of one request."""
        prompt = self.prompts.next_item(np.asarray(row["history"], np.int32)).tolist()
        if self.rendering == "token":
            return prompt, top_logprobs(MAX_LOGPROBS)
        room = self.prompts.context - len(prompt)
        return prompt, decoded(max(1, min(self.section.proposals * self.long_item, room)))

    def read(self, answer: Row) -> list[Proposal]:
        """An answer of the engine -> proposals, best first; each has an outcome, or None where it is still to be judged.

        Reading stops at the `proposals`-th that can be judged. Once all but the seats reserved for long-tail and cold
        items are taken, other items are passed over.
        """
        written = self._tokens(answer) if self.rendering == "token" else self._lines(answer)
        history, held_out = set(answer["history"]), set(answer["held_out"])
        proposals: list[Proposal] = []
        met: set[int] = set()
        reserved = round(self.section.proposals * self.section.tail_share)
        seats = self.section.proposals - reserved
        for text, item, likelihood in written:
            if item is None:
                outcome = (
                    NOT_IN_CATALOGUE
                    if self.rendering == "token" or self.grounder.parses(text)
                    else UNPARSABLE
                )
            elif item in met:
                outcome = DUPLICATE
            elif item in history:
                outcome = ALREADY_SEEN
            elif item in held_out:
                outcome = HELD_OUT
            elif seats:
                outcome, seats = None, seats - 1
            elif self.rare[item]:
                outcome, reserved = None, reserved - 1
            else:
                continue
            if item is not None:
                met.add(item)
            proposals.append({"text": text, "item": item, "outcome": outcome, "likelihood": likelihood})
            if not seats and not reserved:
                break
        return proposals

    def _tokens(self, answer: Row) -> list[tuple[str, int | None, float]]:
        """The likeliest next tokens. A token that is no item is a proposal too, of something outside the catalogue."""
        found = []
        for token, logprob in zip(answer["alternatives"][0], answer["logprobs"][0], strict=True):
            item = token - self.first_item_token
            known = 0 <= item < len(self.texts)
            text = self.texts[item] if known else self.tokenizer.decode([token])
            found.append((text, int(item) if known else None, float(np.exp(logprob))))
        return found

    def _lines(self, answer: Row) -> list[tuple[str, int | None, float]]:
        """The items of a decoded list, each with the probability of its tokens; an unfinished last one is left out."""
        end = separator(self.rendering)
        found, written, logprob = [], [], 0.0
        for token, alternatives in zip(answer["tokens"], answer["logprobs"], strict=True):
            written.append(int(token))
            logprob += alternatives[0]
            text = self.tokenizer.decode(written)
            if text.endswith(end):
                name = text.removesuffix(end).strip()
                found.append((name, self.grounder.ground(name), float(np.exp(logprob))))
                written, logprob = [], 0.0
        return found


def rare_items(items: pa.Table) -> np.ndarray:
    """bool [n_items]: long-tail and cold items, those that augmentation is for."""
    return np.isin(np.asarray(items["slice"].to_pylist()), (TAIL, COLD))


def _requests(batch: pa.Table, asked: list[Any]) -> pa.Table:
    histories = zip(*(batch[name].to_pylist() for name in ("user", "items", "train_end")), strict=True)
    rows = [
        {
            "request_id": fingerprint(asked, user),
            "user": user,
            "history": items[:train],
            "held_out": items[train:],
        }
        for user, items, train in histories
        if train
    ]
    schema = pa.schema(
        [
            ("request_id", pa.string()),
            ("user", pa.int32()),
            ("history", pa.list_(pa.int32())),
            ("held_out", pa.list_(pa.int32())),
        ]
    )
    return pa.Table.from_pylist(rows, schema)
