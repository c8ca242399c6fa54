"""Full ranking: the place of a user's held-out items among all items of the catalogue.

Every item is a candidate, and the user's observed training items are masked. At the test these include the validation items
(`longtail.rounds`), unless the recipe's protocol is `train-only`, that of Llama4Rec (arXiv 2401.13870; code of its authors:
sichunluo/RecRanker). A target without a training interaction also counts. It is a miss unless the model ranks it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.aggregation.fused import Fused
from longtail.errors import InputError
from longtail.evaluation.list_bias import count_exposure
from longtail.evaluation.sampled_ranks import sampled_ranks
from longtail.evaluation.targets import HeldOut, Part, read_targets, split_parts
from longtail.recommenders.recommender import Recommender
from longtail.schema import RANKS
from longtail.workspace.place import Place

EXPOSURE = pa.schema([("item", pa.int32()), ("count", pa.int64())])
"""One row per item of the catalogue: the number of users whose first ten places hold it."""


@dataclass(frozen=True)
class Protocol:
    """How targets are ranked.

    depth: the length of the lists. negatives: if above 0, targets are also ranked among this number of items, drawn by
    `seed`.
    """

    depth: int
    held_out: HeldOut = "test"
    negatives: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Ranked:
    """The counts and the exposure of some users' ranking; the results of parts can be added in any order.

    exposure int64 [items], see `count_exposure`.
    """

    users: int
    targets: int
    exposure: np.ndarray

    def __add__(self, other: "Ranked") -> "Ranked":
        return Ranked(self.users + other.users, self.targets + other.targets, self.exposure + other.exposure)

    @classmethod
    def none(cls, n_items: int) -> "Ranked":
        return cls(0, 0, np.zeros(n_items, np.int64))

    def write_exposure(self, to: Place) -> None:
        """`exposure.parquet` in the folder `to`, rows of EXPOSURE."""
        items = np.arange(len(self.exposure), dtype=np.int32)
        (to / "exposure.parquet").write_table(pa.table([items, self.exposure], schema=EXPOSURE))

    @property
    def counts(self) -> dict[str, int]:
        return {"users": self.users, "targets": self.targets}


def rank_targets(lists: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The 1-based place of each target in its user's list, 0 if the list lacks it: int32 [targets].

    lists int [users, k]; rows int [targets]: the row in `lists` of each target; targets int [targets]: its item.
    """
    found = lists[rows] == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int32)


def catalogue_size(data: Place) -> int:
    items = data / "items.parquet"
    return pq.read_metadata(items.path, filesystem=items.fs).num_rows


def check_catalogue(model: Recommender, n_items: int) -> None:
    """Raise InputError if `model` was not fitted on a catalogue of `n_items` items."""
    if model.n_items != n_items:
        raise InputError(
            f"{model.name} was fitted on {model.n_items} items, the catalogue now has {n_items}. Fit it again: "
            "longtail fuse, longtail train."
        )


def rank_part(model: Recommender | Fused, part: Part, to: Place, protocol: Protocol) -> Ranked:
    """Rank the catalogue for every user of `part` with a target, and write rows of RANKS to `to`/ranks/`part.name`.

    Users are ranked in blocks, so memory does not grow with their number.
    """
    total = Ranked.none(model.n_items)
    with ranks_writer(part, to) as writer:
        for users, rows, targets in read_targets(part, protocol.held_out):
            lists, _ = model.recommend(users, min(protocol.depth, model.n_items))
            sampled = None
            if protocol.negatives:
                sampled = sampled_ranks(model, users[rows], targets, protocol.negatives, protocol.seed)
            writer.write_table(ranks_table(users[rows], targets, rank_targets(lists, rows, targets), sampled))
            total += Ranked(len(users), len(targets), count_exposure(lists, model.n_items))
    return total


def ranks_writer(part: Part, to: Place) -> pq.ParquetWriter:
    """Writes rows of RANKS to `to`/ranks/`part.name`."""
    folder = to / "ranks"
    folder.make_folder()
    return pq.ParquetWriter((folder / part.name).path, RANKS, filesystem=folder.fs, compression="zstd")


def rank_all(
    model: Recommender, data: Place, to: Place, depth: int, held_out: HeldOut = "test"
) -> dict[str, int]:
    """Rank all parts of `data` in this process, and write `ranks/` and `exposure.parquet` to `to`.

    depth: the length of the lists; held_out: whether the test or the validation items are the targets. Returns the
    numbers of users and targets. Raises InputError if the model was fitted on a different catalogue.
    """
    check_catalogue(model, catalogue_size(data))
    total = Ranked.none(model.n_items)
    for part in split_parts(data):
        total += rank_part(model, part, to, Protocol(depth, held_out))
    total.write_exposure(to)
    return total.counts


def ranks_table(
    users: np.ndarray, targets: np.ndarray, ranks: np.ndarray, sampled: np.ndarray | None = None
) -> pa.Table:
    """Rows of RANKS. All targets of a user must be in one call, because a row has their number."""
    _, of_user, many = np.unique(users, return_inverse=True, return_counts=True)
    columns = [column.astype(np.int32) for column in (users, targets, ranks, many[of_user])]
    last = pa.nulls(len(users), pa.int32()) if sampled is None else sampled.astype(np.int32)
    return pa.table([*columns, last], schema=RANKS)
