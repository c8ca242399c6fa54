"""The users as they are served: ids, whole histories, and how much of them the recommenders and lists were made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from longtail.arrays import lengths_of, offsets_of
from longtail.recommenders.interactions import Histories
from longtail.serving.versions.ids import Ids
from longtail.serving.versions.mapped_arrays import Array, below


@dataclass(frozen=True)
class ServedUsers:
    """histories: the whole history of each user. train_end int64 [users]: the first so many items of it are known to what
    was fitted and to what the LLM was asked; the later ones were held out.
    """

    ids: Ids
    histories: Histories
    train_end: np.ndarray

    @classmethod
    def read(cls, users: pa.Table) -> Iterator[tuple[str, Array]]:
        """The arrays of the users, with their names, from rows of `schema.HISTORIES` sorted by user."""
        users = users.combine_chunks()
        items = users["items"].combine_chunks()
        yield from ((f"ids/{name}", array) for name, array in Ids.of(users["user_id"]).arrays.items())
        yield "indptr", offsets_of(lengths_of(items))
        yield "items", items.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
        yield "train_end", users["train_end"].to_numpy().astype(np.int64)

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "ServedUsers":
        """From the arrays of `read`."""
        histories = Histories(arrays["indptr"], arrays["items"])
        return cls(Ids(**below(arrays, "ids")), histories, arrays["train_end"])

    def __len__(self) -> int:
        return len(self.ids)

    def history(self, user: int) -> np.ndarray:
        """The whole history, oldest first: int32 [n]."""
        start, end = self.histories.indptr[user : user + 2]
        return self.histories.items[start:end]

    def known(self, user: int) -> np.ndarray:
        """The part of it that everything was made from: int32 [n]."""
        return self.history(user)[: self.train_end[user]]

    def since(self, users: np.ndarray) -> Histories:
        """The rest of it, for users int [n]."""
        whole = self.histories.take(users)
        later = whole.steps_back < (whole.lengths - self.train_end[users])[whole.rows]
        return Histories(offsets_of(whole.lengths - self.train_end[users]), whole.items[later])
