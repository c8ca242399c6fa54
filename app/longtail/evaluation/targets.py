"""The held-out items of a store, part by part: what one task of an evaluation ranks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from longtail.evaluation.list_parts import entries_between
from longtail.recommenders.interactions import Histories
from longtail.workspace.place import Place

HeldOut = Literal["valid", "test"]
USERS_AT_ONCE = 2048
"""Users ranked together: their lists and their candidates of a sampled ranking take some tens of MiB."""
USERS_PER_PART = 2**14
"""Users of one task: seconds of work, so that to load the recommender costs little beside it."""


@dataclass(frozen=True)
class Part:
    """Row groups of the histories, as (file, number); what is found for them lies in one file `name`."""

    name: str
    groups: tuple[tuple[Place, int], ...]


def split_parts(data: Place) -> list[Part]:
    """The histories of `data` in parts of at least USERS_PER_PART users, the last may have fewer.

    Parts depend on the data alone: part by part, all evaluations of one store hold the same targets.
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


def read_targets(
    part: Part, held_out: HeldOut
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Histories]]:
    """The held-out items of all users who have one, in blocks: users [n], rows [targets], targets [targets], and what
    lies between the training items and the targets [n].

    Row r of a block is the user users[r]; rows says whose target each is.
    """
    for file, group in part.groups:
        with file.fs.open_input_file(file.path) as source:
            reader = pq.ParquetFile(source)
            for batch in reader.iter_batches(
                USERS_AT_ONCE, row_groups=[group], columns=["user", "items", "train_end", "valid_end"]
            ):
                train_end, valid_end = (batch[name].to_numpy() for name in ("train_end", "valid_end"))
                valid = entries_between(batch["items"], train_end, valid_end)
                rows, targets = valid if held_out == "valid" else entries_between(batch["items"], valid_end)
                if len(rows):
                    with_target, rows = np.unique(rows, return_inverse=True)
                    since = _histories(*valid, len(batch)).take(with_target)
                    since = since.emptied() if held_out == "valid" else since
                    yield batch["user"].to_numpy()[with_target], rows, targets, since


def _histories(rows: np.ndarray, items: np.ndarray, n_rows: int) -> Histories:
    return Histories(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))]), items)
