"""Parts of list columns: the held-out items of a history, the generated items of a fused row."""

import numpy as np
import pyarrow as pa


def entries_between(
    lists: pa.ListArray, starts: np.ndarray, ends: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each list from position `starts` [rows] on, and before position `ends` [rows] if it is given.

    Returns the row of each entry int64 [n] and its value [n], in the order of the lists.
    """
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), lengths)
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = position >= starts[rows]
    if ends is not None:
        wanted &= position < ends[rows]
    return rows[wanted], lists.flatten().to_numpy()[wanted]
