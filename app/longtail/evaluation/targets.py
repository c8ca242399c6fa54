"""The held-out items of a data set, in parts: each task of an evaluation ranks the targets of one part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from longtail.arrays import entries_between
from longtail.workspace.place import Place

HeldOut = Literal["valid", "test"]
USERS_AT_ONCE = 2048
"""Users ranked together: their lists and the candidates of sampled ranking take some tens of MiB."""
USERS_PER_PART = 2**14
"""Users of one task: their ranking takes seconds, much longer than loading the recommender."""


@dataclass(frozen=True)
class Part:
    """Row groups of the histories, as (file, number of the row group). Their ranks are written to one file, `name`."""

    name: str
    groups: tuple[tuple[Place, int], ...]


def split_parts(data: Place) -> list[Part]:
    """The histories of `data` in parts of at least USERS_PER_PART users; the last part may have fewer.

    Parts depend only on the data, so the same part has the same targets in all evaluations of one data set.
    """
    parts: list[list[tuple[Place, int]]] = [[]]
    users = 0
    for file in (data / "histories").files(".parquet"):
        metadata = pq.read_metadata(file.path, filesystem=file.fs)
        for group in range(metadata.num_row_groups):
            if users >= USERS_PER_PART:
                parts.append([])
                users = 0
            parts[-1].append((file, group))
            users += metadata.row_group(group).num_rows
    return [Part(f"part-{number:05}.parquet", tuple(groups)) for number, groups in enumerate(parts)]


def read_targets(part: Part, held_out: HeldOut) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The held-out items of all users who have one, in blocks of (users, rows, targets).

    users int [n]: the users of the block. targets int [targets]: their held-out items. rows int [targets]: target t
    belongs to users[rows[t]].
    """
    for file, group in part.groups:
        with file.fs.open_input_file(file.path) as source:
            reader = pq.ParquetFile(source)
            for batch in reader.iter_batches(
                USERS_AT_ONCE, row_groups=[group], columns=["user", "items", "train_end", "valid_end"]
            ):
                train_end, valid_end = (batch[name].to_numpy() for name in ("train_end", "valid_end"))
                between = (train_end, valid_end) if held_out == "valid" else (valid_end,)
                rows, targets = entries_between(batch["items"], *between)
                if len(rows):
                    with_target, rows = np.unique(rows, return_inverse=True)
                    yield batch["user"].to_numpy()[with_target], rows, targets
