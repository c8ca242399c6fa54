"""Proposals as flat arrays: what a strategy reads from a batch of answers, each with its outcome."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from longtail.arrays import entry_rows, lists_of
from longtail.schema import ALREADY_SEEN, DUPLICATE, NOT_CHOSEN, NOTHING, OUTCOMES, PROPOSAL

OPEN = -1
"""Stands for an outcome's number as long as a proposal is not judged."""
CODES = {outcome: number for number, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class Proposals:
    """n proposals of a batch, sorted by row, the best of each row first.

    rows int64 [n], ascending: the row of the batch. items int32 [n]: NOTHING for none. against int32 [n]: for a pair, the
    item that was not preferred. likelihood float32 [n]: nan if no LLM was asked. outcomes int8 [n]: OPEN or a number of
    CODES. texts: what the LLM wrote; None if the item was given by a token.
    """

    rows: np.ndarray
    items: np.ndarray
    likelihood: np.ndarray
    outcomes: np.ndarray
    against: np.ndarray | None = None
    texts: list[str] | None = None

    @classmethod
    def open(
        cls, rows: np.ndarray, items: np.ndarray, likelihood: np.ndarray, texts: list[str] | None = None
    ) -> "Proposals":
        outcomes = np.full(len(rows), OPEN, np.int8)
        return cls(rows, items.astype(np.int32), likelihood.astype(np.float32), outcomes, None, texts)

    def marked(self, which: np.ndarray, outcome: str) -> "Proposals":
        """Gives this outcome to those of `which` (bool [n]) that are open."""
        changed = which & (self.outcomes == OPEN)
        return replace(self, outcomes=np.where(changed, CODES[outcome], self.outcomes).astype(np.int8))

    def settled(self, batch: pa.Table) -> "Proposals":
        """Marks repeated proposals and items that the user has already. batch: rows of `schema.REQUESTS`."""
        grounded = self.items != NOTHING
        pairs = _pairs(self.rows, self.items)
        first = np.zeros(len(pairs), bool)
        first[np.unique(pairs, return_index=True)[1]] = True
        return self.marked(grounded & ~first, DUPLICATE).marked(self.among(batch, "history"), ALREADY_SEEN)

    def among(self, batch: pa.Table, column: str) -> np.ndarray:
        """bool [n]: whether the item is in this column (lists of items) of its row."""
        return np.isin(_pairs(self.rows, self.items), _pairs(*listed(batch, column)))

    def kept(self, seats: int, reserved: int = 0, rare: np.ndarray | None = None) -> "Proposals":
        """In each row the first `seats` open proposals stay open, and then the first `reserved` further ones of `rare`
        items (bool [n_items]). The others get the outcome NOT_CHOSEN.
        """
        within = self.places(self.outcomes == OPEN) < seats
        if reserved and rare is not None:
            further = (self.outcomes == OPEN) & ~within & rare[self.items]
            within |= further & (self.places(further) < reserved)
        return self.marked(~within, NOT_CHOSEN)

    def places(self, which: np.ndarray) -> np.ndarray:
        """For every proposal, how many of `which` (bool [n]) come before it in its row: int64 [n]."""
        before = np.cumsum(which) - which
        starts = np.searchsorted(self.rows, self.rows)
        return before - before[starts] if len(starts) else before

    def column(self, n_rows: int) -> pa.ListArray:
        """As a column of lists of `schema.PROPOSAL`, one list for each row."""
        n = len(self.rows)
        none = pa.nulls(n, pa.float32())
        outcomes = np.where(self.outcomes == OPEN, len(OUTCOMES), self.outcomes)
        fields = {
            "text": pa.nulls(n, pa.string()) if self.texts is None else pa.array(self.texts, pa.string()),
            "item": _nullable(self.items),
            "against": pa.nulls(n, pa.int32()) if self.against is None else _nullable(self.against),
            "outcome": pa.array([*OUTCOMES, None], pa.string()).take(pa.array(outcomes)),
            "likelihood": pa.array(self.likelihood, mask=np.isnan(self.likelihood)),
            "yes_no": none,
            "agreement": none,
            "confidence": none,
        }
        starts = np.searchsorted(self.rows, np.arange(n_rows + 1))
        structs = pa.StructArray.from_arrays(list(fields.values()), fields=list(PROPOSAL))
        return lists_of(starts, structs)


def _nullable(items: np.ndarray) -> pa.Array:
    return pa.array(items, pa.int32(), mask=items == NOTHING)


def _pairs(rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """One number for each pair of a row and an item: int64 [n]."""
    return rows.astype(np.int64) << 32 | items.astype(np.int64) & 0xFFFFFFFF


def listed(batch: pa.Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The row (int64) and the value of every entry in a column of lists."""
    lists = batch[column].combine_chunks()
    return entry_rows(lists), lists.flatten().to_numpy(zero_copy_only=False)
