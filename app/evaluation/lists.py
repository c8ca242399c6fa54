"""List columns whose later part matters: the test items of a history, the generated ones of a fused row."""

import numpy as np
import pyarrow as pa


def entries_from(lists: pa.ListArray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each list from position `starts` [rows] on: rows int64 [n], values [n], in order."""
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(lists)), lengths)
    position = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = position >= starts[rows]
    return rows[wanted], lists.flatten().to_numpy()[wanted]
