"""Each user's list by the LLM, from the ledger: arrays over all users, 8 bytes per proposal."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.schema import ACCEPTED, REJECTED
from app.workspace import Place

_COLUMNS = [
    "user",
    *(f"proposals.list.element.{name}" for name in ("item", "outcome", "likelihood", "confidence")),
]


@dataclass(frozen=True)
class LLMLists:
    """The list of user u is items[indptr[u] : indptr[u + 1]], best first, each item once.

    indptr int64 [users + 1], items int32 [n], confidences float32 [n] in 0..1.
    """

    indptr: np.ndarray
    items: np.ndarray
    confidences: np.ndarray

    @classmethod
    def read(cls, ledgers: list[Place], n_users: int) -> "LLMLists":
        """From folders of Parquet files with rows of `schema.ANSWERS`.

        A proposal counts whether the discriminator accepted or rejected it, for the confidence orders them.
        What is no candidate (not in the catalogue, seen, held out, repeated, unparsable) is left out.
        """
        parts = [_proposals(file) for ledger in ledgers for file in ledger.files(".parquet")]
        users, items = (
            np.concatenate([part[k] for part in parts] or [np.zeros(0, np.int32)]) for k in (0, 1)
        )
        confidences = np.concatenate([part[2] for part in parts] or [np.zeros(0, np.float32)])
        best = np.lexsort((-confidences, items, users))
        best = best[_first_of_each(users[best], items[best])]
        order = best[np.lexsort((items[best], -confidences[best], users[best]))]
        indptr = np.searchsorted(users[order], np.arange(n_users + 1))
        return cls(indptr, items[order], confidences[order])

    def of(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """Items int32 [m] and their confidences float32 [m]; empty where the LLM proposed nothing."""
        mine = slice(self.indptr[user], self.indptr[user + 1])
        return self.items[mine], self.confidences[mine]


def _proposals(file: Place) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User, item and confidence of every candidate in one file; the text of the answers stays on disk."""
    with file.fs.open_input_file(file.path) as stream:
        table = pq.ParquetFile(stream).read(columns=_COLUMNS)
    proposals = table["proposals"].combine_chunks()
    users = table["user"].combine_chunks().take(pc.list_parent_indices(proposals))
    items, outcomes, likelihoods, confidences = (
        pc.struct_field(proposals.flatten(), name) for name in ("item", "outcome", "likelihood", "confidence")
    )
    candidate = pc.is_in(outcomes, pa.array([ACCEPTED, REJECTED]))
    scores = pc.coalesce(confidences, likelihoods, pa.scalar(0, pa.float32()))
    return tuple(column.filter(candidate).to_numpy(zero_copy_only=False) for column in (users, items, scores))


def _first_of_each(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """bool [n]: whether an entry differs from the one before it, for entries sorted by user and item."""
    first = np.ones(len(users), bool)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    return first
