"""The held-out items that users took later, and what LLMs said before: both as flat arrays, for Ray tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.evaluation.list_parts import entries_between
from longtail.evaluation.slices import ITEM_SLICES, USER_SLICES, read_item_slices, read_user_slices
from longtail.schema import ALREADY_SEEN, DUPLICATE, NOTHING, OUTCOMES
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Later:
    """The held-out items of all users. keys int64 [targets], ascending: user << 32 | item."""

    keys: np.ndarray
    item_slices: np.ndarray
    user_slices: np.ndarray

    @classmethod
    def read(cls, data: Place) -> "Later":
        """Of a published `data/`; only for Ray tasks."""
        keys = [np.zeros(0, np.int64)]
        for file in (data / "histories").files(".parquet"):
            table = file.read_table(["user", "items", "train_end"])
            rows, items = entries_between(table["items"].combine_chunks(), table["train_end"].to_numpy())
            keys.append(_keys(table["user"].to_numpy()[rows], items))
        return cls(np.unique(np.concatenate(keys)), read_item_slices(data), read_user_slices(data))

    @cached_property
    def users(self) -> np.ndarray:
        return self.keys >> 32

    @cached_property
    def items(self) -> np.ndarray:
        return self.keys & 0xFFFFFFFF

    def find(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Of pairs [n] their places in `keys`, NOTHING for a pair that is not there: int64 [n]."""
        wanted = _keys(users, items)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        if not len(self.keys):
            return np.full(len(wanted), NOTHING)
        return np.where(self.keys[places] == wanted, places, NOTHING)

    def members(self, name: str, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """bool [n]: the pairs that are in a slice, one of SLICE_NAMES."""
        kind, _, part = name.partition(":")
        if kind == "items":
            return self.item_slices[items] == ITEM_SLICES.index(part)
        if kind == "users":
            return self.user_slices[users] == USER_SLICES.index(part)
        return np.ones(len(users), bool)

    def per_user(self, users: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Sums, or counts, by user: [users]."""
        return np.bincount(users, values, len(self.user_slices))


@dataclass(frozen=True)
class Said:
    """The proposals of one file of answers that name an item, each once an answer; arrays [n].

    asked: the users of all its answers, also of those that name nothing; outcomes: places in OUTCOMES.
    """

    asked: np.ndarray
    users: np.ndarray
    items: np.ndarray
    against: np.ndarray
    likelihood: np.ndarray
    outcomes: np.ndarray


def read_said(answers: Place) -> Iterator[Said]:
    """What an LLM said, file by file. What users had taken before is left out: it cannot be taken later."""
    for file in answers.files(".parquet"):
        table = file.read_table(["user", "proposals"])
        lists, users = table["proposals"].combine_chunks(), table["user"].to_numpy()
        flat = lists.flatten()
        outcomes = pc.index_in(flat.field("outcome"), pa.array(OUTCOMES)).to_numpy(zero_copy_only=False)
        used = flat.field("item").is_valid().to_numpy(zero_copy_only=False)
        used &= ~np.isin(outcomes, [OUTCOMES.index(ALREADY_SEEN), OUTCOMES.index(DUPLICATE)])
        rows = lists.value_parent_indices().to_numpy(zero_copy_only=False)
        items, against = (
            pc.fill_null(flat.field(name), NOTHING).to_numpy(zero_copy_only=False)[used]
            for name in ("item", "against")
        )
        likelihood = flat.field("likelihood").fill_null(np.nan).to_numpy(zero_copy_only=False)[used]
        yield Said(users, users[rows[used]], items, against, likelihood, outcomes[used])


def _keys(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    return users.astype(np.int64) << 32 | items.astype(np.int64)
