"""Small prepared stores for the tests of this folder, written with the schemas that the stages write."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from longtail.schema import HISTORIES, ITEMS, RANKS
from longtail.workspace import Workspace
from longtail.workspace.place import Place


def _write_data(
    ws: Workspace, histories: list[list[int]], cuts: list[tuple[int, int]], n_items: int
) -> Place:
    """Publish `data/` in two files of histories; `cuts` are (train_end, valid_end) of each user."""
    train = [items[:train_end] for items, (train_end, _) in zip(histories, cuts, strict=True)]
    train_count = np.bincount(np.concatenate(train).astype(int), minlength=n_items)
    slices = np.select(
        [train_count == 0, train_count <= 1, train_count <= 3], ["cold", "tail", "mid"], "head"
    )
    users = range(len(histories))
    table = pa.table(
        {
            "user": users,
            "user_id": [f"u{user}" for user in users],
            "items": histories,
            "timestamps": [list(range(len(items))) for items in histories],
            "train_end": [train_end for train_end, _ in cuts],
            "valid_end": [valid_end for _, valid_end in cuts],
            "slice": ["sparse" if train_end < 3 else "regular" for train_end, _ in cuts],
        },
        schema=HISTORIES,
    )
    catalogue = pa.table(
        {
            "item": range(n_items),
            "item_id": [f"i{item}" for item in range(n_items)],
            "title": [f"</script><b>{item}" for item in range(n_items)],
            "attributes": [[] for _ in range(n_items)],
            "train_count": train_count,
            "slice": slices,
        },
        schema=ITEMS,
    )
    stage = ws.stage("data", {"users": len(histories), "items": n_items})
    stage.counts = {"users": len(histories), "items": n_items, "dropped": {"duplicate <b>": 3}}
    half = len(histories) // 2
    with stage.publishing() as draft:
        (draft / "items.parquet").write_table(catalogue)
        # The files are not in the order of the users: nothing may rest on it.
        (draft / "histories" / "a.parquet").write_table(table.slice(half))
        (draft / "histories" / "b.parquet").write_table(table.slice(0, half))
    return ws / "data"


def _write_ranks(
    ws: Workspace, place: str, parts: list[list[tuple[int, int, int]]], exposure: list[int]
) -> Place:
    """Publish an evaluation from (user, item, rank) of each part; all targets of a user are in one."""
    stage = ws.stage(place, {})
    stage.counts = {
        "users": len({user for rows in parts for user, *_ in rows}),
        "targets": sum(map(len, parts)),
    }
    with stage.publishing() as draft:
        for number, rows in enumerate(parts):
            users, items, ranks = (np.array(column, np.int32) for column in zip(*rows, strict=True))
            targets = np.bincount(users)[users].astype(np.int32)
            table = pa.table([users, items, ranks, targets, ranks + 1], schema=RANKS)
            (draft / "ranks" / f"part-{number}.parquet").write_table(table)
        (draft / "exposure.parquet").write_table(pa.table({"item": range(len(exposure)), "count": exposure}))
    return ws / place


@pytest.fixture(scope="session")
def write_data() -> Callable[..., Place]:
    """`write_data(ws, histories, cuts, n_items)` publishes `data/`."""
    return _write_data


@pytest.fixture(scope="session")
def write_ranks() -> Callable[..., Place]:
    """`write_ranks(ws, place, parts, exposure)` publishes an evaluation from (user, item, rank) of each part."""
    return _write_ranks
