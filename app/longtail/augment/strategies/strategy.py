"""What every strategy is: how it asks about a batch of users, and how it reads what the LLM said.

Both work on Arrow tables of many users at a time. A row is one request from first to last, whatever number of questions it
holds, so that no crash can tear an answer.
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
    """The questions about one user: prompts of token ids, and what they are about (see `schema.REQUESTS`)."""

    prompts: list[np.ndarray]
    shown: np.ndarray
    options: list[int] | np.ndarray = ()


class Strategy(Protocol):
    """One way of asking an LLM. Picklable: it travels to Ray tasks once."""

    prompts: Prompts
    sampling: Sampling
    questions: int
    """Prompts of a request, about."""

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """The requests about one user; none if there is nothing to ask. rng depends on the user alone.

        What is held out is not given: no prompt can depend on it, not even by leaving it out.
        """
        ...

    def read(self, answers: pa.Table) -> Proposals:
        """From rows of `schema.REQUESTS` that have their `answers`; a row with an error has no proposals."""
        ...


def requests(batch: pa.Table, strategy: Strategy, salt: str, seed: int) -> pa.Table:
    """Rows of `schema.HISTORIES` -> rows of `schema.REQUESTS`; a user without training history is not asked about.

    salt: the LLM and how it answers (see `ledger.identity`). Of requests that the context makes equal the first alone is
    asked.
    """
    columns: dict[str, list[Any]] = {name: [] for name in REQUESTS.names}
    users = zip(*(batch[name].to_pylist() for name in ("user", "user_id", "train_end")), strict=True)
    for own, (user, user_id, train) in zip(views_of(batch["items"].combine_chunks()), users, strict=True):
        history, held_out = own[:train], own[train:]
        if not train:
            continue
        met = set()
        for asked in strategy.ask(user, history, rng_of(seed, user)):
            shown, options = np.asarray(asked.shown, np.int32), np.asarray(asked.options, np.int32)
            name = identity(salt, user_id, asked.prompts, options).hex()
            if name in met:
                continue
            met.add(name)
            values = (name, user, user_id, history, held_out, shown, asked.prompts, options)
            for column, value in zip(REQUESTS.names, values, strict=True):
                columns[column].append(value)
    return pa.table({field.name: nested(columns[field.name], field.type) for field in REQUESTS}, REQUESTS)


def rng_of(seed: int, user: int) -> Rng:
    """What is drawn about a user: it depends on nothing else, so that a control can draw the same again."""
    return np.random.default_rng([seed, user])


def prompt_column(values: list[Any]) -> pa.ListArray:
    """Lists of token ids, or lists of such lists, as a column."""
    deeper = any(isinstance(value, list) for value in values)
    return nested(values, pa.list_(pa.list_(pa.int32())) if deeper else pa.list_(pa.int32()))


@dataclass(frozen=True)
class Spoken:
    """The answers of a batch as flat arrays: question q belongs to row rows[q]; its lists are values[starts[q]:starts[q+1]].

    options and option_logprobs: of the first token of every answer. written and written_logprobs: what was written.
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
