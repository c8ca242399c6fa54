"""The protocol of all strategies: how to ask about a batch of users, and how to read the answers of the LLM.

Both work on Arrow tables of many users at a time. Through the whole pipeline a row is one request with all of its questions,
so a crash cannot leave half of an answer.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from longtail.arrays import entry_rows, lengths_of, nested, offsets_of, views_of
from longtail.augment.ledger import identity
from longtail.augment.proposals import Proposals
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import Sampling
from longtail.schema import REQUESTS

Rng = np.random.Generator


@dataclass(frozen=True)
class Asked:
    """One request about a user: prompts of token ids, the shown items and the options (see `schema.REQUESTS`)."""

    prompts: list[np.ndarray]
    shown: np.ndarray
    options: list[int] | np.ndarray = ()


class Strategy(Protocol):
    """One way to ask an LLM. It must be picklable, because it is sent to Ray tasks (once)."""

    prompts: Prompts
    sampling: Sampling
    questions: int
    """Approximate number of prompts in a request."""

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """The requests about one user; none if there is nothing to ask. rng depends only on the seed and the user.

        Held-out items are not passed, neither here nor to `read`, so nothing can depend on them, not even by leaving them
        out.
        """
        ...

    def read(self, answers: pa.Table) -> Proposals:
        """Proposals from rows of `schema.REQUESTS` with `answers`. A row with an error gives no proposals."""
        ...


def requests(batch: pa.Table, strategy: Strategy, salt: str, seed: int) -> pa.Table:
    """Rows of `schema.HISTORIES` -> rows of `schema.REQUESTS`; a user without training history is not asked about.

    salt: the LLM and how it answers (see `ledger.identity`). If two requests of a user are equal because the context cuts
    them, only the first is asked.
    """
    columns: dict[str, list[Any]] = {name: [] for name in REQUESTS.names}
    users = zip(*(batch[name].to_pylist() for name in ("user", "user_id", "train_end")), strict=True)
    for own, (user, user_id, train) in zip(views_of(batch["items"].combine_chunks()), users, strict=True):
        history = own[:train]
        if not train:
            continue
        met = set()
        for asked in strategy.ask(user, history, rng_of(seed, user)):
            shown, options = np.asarray(asked.shown, np.int32), np.asarray(asked.options, np.int32)
            name = identity(salt, user_id, asked.prompts, options).hex()
            if name in met:
                continue
            met.add(name)
            values = (name, user, user_id, history, shown, asked.prompts, options)
            for column, value in zip(REQUESTS.names, values, strict=True):
                columns[column].append(value)
    return pa.table({field.name: nested(columns[field.name], field.type) for field in REQUESTS}, REQUESTS)


def rng_of(seed: int, user: int) -> Rng:
    """A random generator that depends only on the seed and the user, so that a control can draw the same again."""
    return np.random.default_rng([seed, user])


def prompt_column(values: list[Any]) -> pa.ListArray:
    """A column of lists of token ids, or of lists of such lists."""
    deeper = any(isinstance(value, list) for value in values)
    return nested(values, pa.list_(pa.list_(pa.int32())) if deeper else pa.list_(pa.int32()))


@dataclass(frozen=True)
class Spoken:
    """The answers of a batch as flat arrays. Question q is in row rows[q]; its values are values[starts[q]:starts[q+1]].

    options, option_logprobs: possible first tokens of every answer. written, written_logprobs: the tokens of the answer.
    """

    rows: np.ndarray
    option_starts: np.ndarray
    options: np.ndarray
    option_logprobs: np.ndarray
    written_starts: np.ndarray
    written: np.ndarray
    written_logprobs: np.ndarray

    @classmethod
    def of(cls, answers: pa.Table) -> "Spoken":
        lists = answers["answers"].combine_chunks()
        said = lists.flatten()
        fields = {
            name: said.field(name) for name in ("written", "written_logprobs", "options", "option_logprobs")
        }
        flat = {name: column.flatten().to_numpy() for name, column in fields.items()}
        starts = {name: offsets_of(lengths_of(fields[name])) for name in ("written", "options")}
        return cls(
            rows=entry_rows(lists),
            option_starts=starts["options"],
            options=flat["options"],
            option_logprobs=flat["option_logprobs"],
            written_starts=starts["written"],
            written=flat["written"],
            written_logprobs=flat["written_logprobs"],
        )
