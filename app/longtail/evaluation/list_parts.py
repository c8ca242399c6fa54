"""List columns of which a part matters: the held-out items of a history, the generated ones of a fused row."""

import numpy as np
import pyarrow as pa


def entries_between(
    lists: pa.ListArray, starts: np.ndarray, ends: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each list from position `starts` [rows] on, before `ends` [rows] where given.

    Rows int64 [n] and values [n], in order.
    """
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), lengths)
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = position >= starts[rows]
    if ends is not None:
        wanted &= position < ends[rows]
    return rows[wanted], lists.flatten().to_numpy()[wanted]
