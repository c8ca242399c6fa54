"""How many items of each slice an LLM proposed and added for each user: the amounts that its controls copy."""

from dataclasses import dataclass

import numpy as np

from longtail.data.catalogue import SLICES
from longtail.recommenders.interactions import Histories


@dataclass(frozen=True)
class Amounts:
    """The amounts of n users, by the slice of the item.

    slices int [n_items]: the slice of each item, see `data.catalogue.slice_codes`. proposed, added int64 [n, len(SLICES)]:
    how many items the judge saw, and how many of them were added to the log.
    """

    slices: np.ndarray
    proposed: np.ndarray
    added: np.ndarray

    @classmethod
    def of(cls, proposed: Histories, added: Histories, slices: np.ndarray) -> "Amounts":
        return cls(slices, counted(proposed, slices), counted(added, slices))

    def most(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """bool [n]: the first entries of each row, at most `added` of each slice. rows and items int [n]; row r is that
        of user r."""
        return first(rows, items, self.added, self.slices)


def counted(items: Histories, slices: np.ndarray) -> np.ndarray:
    """The number of items of each slice in each row: int64 [rows, len(SLICES)]."""
    cells = items.rows * len(SLICES) + slices[items.items]
    return np.bincount(cells, minlength=len(items) * len(SLICES)).reshape(-1, len(SLICES))


def first(rows: np.ndarray, items: np.ndarray, counts: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """bool [n]: the first entries of each row, at most counts[row, slice] of each slice.

    rows, items int [n]; counts int [rows, len(SLICES)]; slices int [n_items].
    """
    cells = rows * len(SLICES) + slices[items]
    order = np.argsort(cells, kind="stable")
    cells, taken = cells[order], np.zeros(len(rows), bool)
    taken[order] = np.arange(len(cells)) - np.searchsorted(cells, cells) < counts.ravel()[cells]
    return taken
