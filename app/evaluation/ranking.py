"""Full ranking: where a user's held-out items stand among all items of the catalogue.

The protocol of papers 2.6: every item is a candidate; a user's observed training items are masked, the
validation item is not; a target without any training interaction counts, as a miss unless the model ranks it.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from app.evaluation.bias import count_exposure
from app.evaluation.lists import entries_from
from app.recommenders.base import Recommender
from app.schema import RANKS
from app.workspace import Place

USERS_AT_ONCE = 2048

EXPOSURE = pa.schema([("item", pa.int32()), ("count", pa.int64())])
"""One row per item of the catalogue: in how many users' first ten places it stands."""


def rank_targets(lists: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The 1-based place of each target in its user's list, 0 where it is not there: int32 [targets].

    lists int [users, k]; rows int [targets] says whose list, targets int [targets] which item.
    """
    found = lists[rows] == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int32)


def read_targets(data: Place) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The test items of all users who have one, in blocks: users [n], rows [targets], targets [targets].

    Row r of a block is the user users[r]; rows says whose target each is.
    """
    histories = data / "histories"
    table = ds.dataset(histories.path, filesystem=histories.fs)
    for batch in table.to_batches(columns=["user", "items", "valid_end"], batch_size=USERS_AT_ONCE):
        rows, targets = entries_from(batch["items"], batch["valid_end"].to_numpy())
        if len(rows):
            with_target, rows = np.unique(rows, return_inverse=True)
            yield batch["user"].to_numpy()[with_target], rows, targets


def rank_all(recommender: Recommender, data: Place, to: Place, depth: int) -> dict[str, int]:
    """Rank the catalogue for every user with a test target: `ranks.parquet` and `exposure.parquet` in `to`.

    Lists are `depth` long. Users are taken in blocks, so memory does not grow with their number. Returns how
    many users and targets there were.
    """
    items = data / "items.parquet"
    exposure = np.zeros(pq.read_metadata(items.path, filesystem=items.fs).num_rows, np.int64)
    counts = {"users": 0, "targets": 0}
    with pq.ParquetWriter((to / "ranks.parquet").path, RANKS, filesystem=to.fs, compression="zstd") as writer:
        for users, rows, targets in read_targets(data):
            lists, _ = recommender.recommend(users, depth)
            ranks = rank_targets(lists, rows, targets)
            columns = [users[rows], targets, ranks, np.bincount(rows)[rows]]
            writer.write_table(pa.table([column.astype(np.int32) for column in columns], schema=RANKS))
            exposure += count_exposure(lists, len(exposure))
            counts["users"] += len(users)
            counts["targets"] += len(targets)
    table = pa.table([np.arange(len(exposure), dtype=np.int32), exposure], schema=EXPOSURE)
    (to / "exposure.parquet").write_table(table)
    return counts
