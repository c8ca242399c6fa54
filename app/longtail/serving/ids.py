"""From the ids of the raw files to dense codes, without one Python object per id."""

from bisect import bisect_left

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Ids:
    """The ids of users or items, row number == code. A binary search finds them; its index takes 4 bytes per id."""

    def __init__(self, ids: pa.Array | pa.ChunkedArray) -> None:
        """`ids` must be distinct strings, sorted by code."""
        whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        self._ids = whole.cast(pa.large_string())
        self._order = (
            pc.sort_indices(self._ids).to_numpy().astype(np.int32)
        )  # by UTF-8 bytes, as Python's str sorts

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, code: int) -> str:
        return self._ids[code].as_py()

    def code(self, one: str) -> int | None:
        """The code of an id; None if there is no such id."""
        place = bisect_left(self._order, one, key=lambda code: self[int(code)])
        if place < len(self) and self[int(self._order[place])] == one:
            return int(self._order[place])
        return None
