"""Held-out items and LLM proposals as flat arrays, to look up which proposals are held-out items. For Ray tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import entry_rows
from longtail.data.held_out import pairs_of, read_held_out
from longtail.evaluation.slices import ITEM_SLICES, USER_SLICES, read_item_slices, read_user_slices
from longtail.schema import ALREADY_SEEN, DUPLICATE, NOTHING, OUTCOMES
from longtail.workspace.place import Place


@dataclass(frozen=True)
class HeldOutItems:
    """The held-out items of all users.

    keys int64 [targets], ascending: see `data.held_out.pairs_of`. item_slices int32 [items] and user_slices int32
    [users]: indices in ITEM_SLICES and USER_SLICES.
    """

    keys: np.ndarray
    item_slices: np.ndarray
    user_slices: np.ndarray

    @classmethod
    def read(cls, data: Place) -> "HeldOutItems":
        """The held-out items of a published `data/`. Only for Ray tasks: it holds all of them."""
        return cls(read_held_out(data), read_item_slices(data), read_user_slices(data))

    @cached_property
    def users(self) -> np.ndarray:
        return self.keys >> 32

    @cached_property
    def items(self) -> np.ndarray:
        return self.keys & 0xFFFFFFFF

    def find(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """The index in `keys` of each pair (users [n], items [n]), NOTHING if it is not there: int64 [n]."""
        wanted = pairs_of(users, items)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        if not len(self.keys):
            return np.full(len(wanted), NOTHING)
        return np.where(self.keys[places] == wanted, places, NOTHING)

    def members(self, name: str, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Which pairs (users [n], items [n]) are in slice `name`, one of SLICE_NAMES: bool [n]."""
        kind, _, part = name.partition(":")
        if kind == "items":
            return self.item_slices[items] == ITEM_SLICES.index(part)
        if kind == "users":
            return self.user_slices[users] == USER_SLICES.index(part)
        return np.ones(len(users), bool)

    def per_user(self, users: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """The sum of values [n] by user, or the number of entries if no values are given: [users]."""
        return np.bincount(users, values, len(self.user_slices))


@dataclass(frozen=True)
class Proposals:
    """The proposals of one file of answers that name an item, each once per answer: arrays [n].

    asked int [answers]: the users of all answers, also of answers without a proposal. against: the other item of a
    pair, NOTHING if there is none. likelihood: NaN if it is not known. outcomes: indices in OUTCOMES.
    """

    asked: np.ndarray
    users: np.ndarray
    items: np.ndarray
    against: np.ndarray
    likelihood: np.ndarray
    outcomes: np.ndarray


def read_proposals(answers: Place) -> Iterator[Proposals]:
    """The proposals, file by file. Items that the user already has are left out: they cannot be held-out items."""
    for file in answers.files(".parquet"):
        table = file.read_table(["user", "proposals"])
        lists, users = table["proposals"].combine_chunks(), table["user"].to_numpy()
        flat = lists.flatten()
        outcomes = pc.index_in(flat.field("outcome"), pa.array(OUTCOMES)).to_numpy(zero_copy_only=False)
        used = flat.field("item").is_valid().to_numpy(zero_copy_only=False)
        used &= ~np.isin(outcomes, [OUTCOMES.index(ALREADY_SEEN), OUTCOMES.index(DUPLICATE)])
        rows = entry_rows(lists)
        items, against = (
            pc.fill_null(flat.field(name), NOTHING).to_numpy(zero_copy_only=False)[used]
            for name in ("item", "against")
        )
        likelihood = flat.field("likelihood").fill_null(np.nan).to_numpy(zero_copy_only=False)[used]
        yield Proposals(users, users[rows[used]], items, against, likelihood, outcomes[used])
