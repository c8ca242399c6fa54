"""The LLM's list of each user, as published by the stage augment: arrays over all users, 8 bytes per item."""

from dataclasses import dataclass

import numpy as np

from longtail.arrays import lengths_of, offsets_of, places_of
from longtail.workspace.place import Place


@dataclass(frozen=True)
class LLMLists:
    """The list of user u is items[indptr[u] : indptr[u + 1]], best first, each item once.

    indptr int64 [users + 1], items int32 [n], scores float32 [n] in 0..1, falling.
    """

    indptr: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    @classmethod
    def read(cls, rankings: Place, n_users: int) -> "LLMLists":
        """Read a folder of Parquet files with rows of `schema.RANKINGS`, one per user. Without the folder no user has
        a list.
        """
        users, lengths, items, scores = ([] for _ in range(4))
        for file in rankings.files(".parquet"):
            table = file.read_table().combine_chunks()
            lists = table["items"].combine_chunks()
            users.append(table["user"].to_numpy())
            lengths.append(lengths_of(lists))
            items.append(lists.flatten().to_numpy())
            scores.append(table["scores"].combine_chunks().flatten().to_numpy())
        user, length = _joined(users, np.int64), _joined(lengths, np.int64)
        indptr = offsets_of(np.bincount(user, length, n_users).astype(np.int64))
        # The entries of a row move to where their user's list starts.
        moved = np.repeat(indptr[user], length) + places_of(length)
        order = np.empty(len(moved), np.int64)
        order[moved] = np.arange(len(moved))
        return cls(indptr, _joined(items, np.int32)[order], _joined(scores, np.float32)[order])

    @classmethod
    def none(cls, n_users: int) -> "LLMLists":
        """No list for any user."""
        return cls(np.zeros(n_users + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    @property
    def lengths(self) -> np.ndarray:
        """The length of each user's list: int64 [users], 0 without a list."""
        return np.diff(self.indptr)

    def of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lists of users int [n]: items int32 [n, m], -1 after the last, and scores float32 [n, m]; m is the
        longest.
        """
        lengths = self.lengths[users]
        columns = np.arange(lengths.max(initial=0))
        held = columns < lengths[:, None]
        source = (self.indptr[users][:, None] + columns)[held]
        items, scores = np.full(held.shape, -1, np.int32), np.zeros(held.shape, np.float32)
        items[held], scores[held] = self.items[source], self.scores[source]
        return items, scores


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind, copy=False)
