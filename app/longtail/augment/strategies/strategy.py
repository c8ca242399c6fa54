"""What every strategy is: how it asks about a batch of users, and how it reads what the LLM said.

Both work on Arrow tables of many users at a time. A row is one request from first to last, whatever number of questions it
holds, so that no crash can tear an answer.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

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
    histories = batch["items"].combine_chunks()
    starts, items = histories.offsets.to_numpy(), histories.values.to_numpy()
    users = zip(*(batch[name].to_pylist() for name in ("user", "user_id", "train_end")), strict=True)
    for row, (user, user_id, train) in enumerate(users):
        own = items[starts[row] : starts[row + 1]]
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
    return pa.table({field.name: _array(columns[field.name], field.type) for field in REQUESTS}, REQUESTS)


def rng_of(seed: int, user: int) -> Rng:
    """What is drawn about a user: it depends on nothing else, so that a control can draw the same again."""
    return np.random.default_rng([seed, user])


def prompt_column(values: list[Any]) -> pa.ListArray:
    """Lists of token ids, or lists of such lists, as a column."""
    nested = any(isinstance(value, list) for value in values)
    return _array(values, pa.list_(pa.list_(pa.int32())) if nested else pa.list_(pa.int32()))


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """pa.array for lists of NumPy arrays too, at any depth; much faster than through Python numbers."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    lengths = np.fromiter((len(value) for value in values), np.int64, len(values))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    inner = kind.value_type
    if pa.types.is_list(inner):
        return pa.ListArray.from_arrays(offsets, _array([part for value in values for part in value], inner))
    flat = np.concatenate([np.zeros(0, np.int32), *values]).astype(np.int32, copy=False)
    return pa.ListArray.from_arrays(offsets, pa.array(flat, inner))


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
        starts = {name: _starts(fields[name]) for name in ("written", "options")}
        rows = lists.value_parent_indices().to_numpy(zero_copy_only=False)
        return cls(
            rows=rows,
            option_starts=starts["options"],
            options=flat["options"],
            option_logprobs=flat["option_logprobs"],
            written_starts=starts["written"],
            written=flat["written"],
            written_logprobs=flat["written_logprobs"],
        )


def _starts(lists: pa.ListArray) -> np.ndarray:
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
