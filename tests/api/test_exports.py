"""The training logs of a workspace written by hand: every interaction with its weight, its origin, place and time."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from longtail.api.exports import TRAINING_LOG, has_times, training_sets, write_neighbours, write_training_log
from longtail.api.table_file import new_file, writing
from longtail.errors import InputError
from longtail.recipe import Columns, Dataset
from longtail.schema import FUSED, HISTORIES, ITEMS
from longtail.workspace import Workspace

TAKEN = [[0, 1, 2], [2, 0], [1], []]
"""Training items by user; each took item 3 afterwards."""
GENERATED = [[2], [1, 0], [], [2]]
SIMULATED = Dataset()


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    ws = Workspace(str(tmp_path / "ws"))
    with ws.stage("data", {}).publishing() as data:
        items = [{"item": item, "item_id": f"i{item}"} for item in range(4)]
        (data / "items.parquet").write_table(pa.Table.from_pylist(items, ITEMS))
        histories = [
            {
                "user": user,
                "user_id": f"u{user}",
                "items": [*own, 3],
                "timestamps": [10 * user + n for n in range(len(own) + 1)],
            }
            for user, own in enumerate(TAKEN)
        ]
        (data / "histories/b.parquet").write_table(pa.Table.from_pylist(histories[3::-2], HISTORIES))
        (data / "histories/a.parquet").write_table(pa.Table.from_pylist(histories[::2], HISTORIES))
    return ws


def fuse(ws: Workspace, name: str, sequences: list[list[int] | None]) -> None:
    """A training set in files of two users each."""
    stage = ws.stage(f"fused/{name}", {})
    stage.counts = {"observed": sum(map(len, TAKEN)), "generated": sum(map(len, GENERATED))}
    with stage.publishing() as draft:
        rows = [
            {
                "user": user,
                "items": own + more,
                "weights": [1.0] * len(own) + [0.25] * len(more),
                "observed": len(own),
                "sequence": sequences[user],
            }
            for user, (own, more) in enumerate(zip(TAKEN, GENERATED, strict=True))
        ]
        for first in (0, 2):
            table = pa.Table.from_pylist(rows[first : first + 2][::-1], FUSED)
            (draft / f"interactions/{first}.parquet").write_table(table)


def log(ws: Workspace, name: str, dataset: Dataset = SIMULATED) -> list[tuple]:
    to = new_file(Path(str(ws)).parent / f"{name}.csv", overwrite=True)
    written = write_training_log(ws, dataset, name, to)
    found = pd.read_csv(to.path)
    assert len(found) == written and list(found.columns) == TRAINING_LOG.names
    return list(found.astype(object).where(found.notna(), None).itertuples(index=False, name=None))


def test_every_interaction_is_there_once_with_its_origin(ws: Workspace) -> None:
    fuse(ws, "generated", [None] * 4)
    assert training_sets(ws) == ["generated"]
    assert log(ws, "generated") == [
        ("u0", "i0", 1.0, "observed", 0, 0),
        ("u0", "i1", 1.0, "observed", 1, 1),
        ("u0", "i2", 1.0, "observed", 2, 2),
        ("u0", "i2", 0.25, "generated", 3, None),
        ("u1", "i2", 1.0, "observed", 0, 10),
        ("u1", "i0", 1.0, "observed", 1, 11),
        ("u1", "i1", 0.25, "generated", 2, None),
        ("u1", "i0", 0.25, "generated", 3, None),
        ("u2", "i1", 1.0, "observed", 0, 20),
        ("u3", "i2", 0.25, "generated", 0, None),
    ]


def test_inserted_ones_have_the_place_of_their_sequence(ws: Workspace) -> None:
    fuse(ws, "insertion", [[3, 0, 1, 2], [0, 2, 1, 3], [0], [0]])
    positions = {(row[0], row[1], row[3]): row[4] for row in log(ws, "insertion")}
    assert positions["u0", "i2", "generated"] == 0 and positions["u0", "i0", "observed"] == 1
    assert positions["u1", "i1", "generated"] == 1 and positions["u1", "i0", "observed"] == 2


def test_a_log_without_times_has_none(ws: Workspace) -> None:
    fuse(ws, "generated", [None] * 4)
    untimed = Dataset(source="csv", columns=Columns(time=None))
    assert {row[5] for row in log(ws, "generated", untimed)} == {None}
    assert has_times(SIMULATED) and has_times(Dataset(source="csv"))
    assert not has_times(Dataset(source="csv", split="published")) and not has_times(Dataset(source="sasrec"))


def test_counts_that_do_not_agree_leave_no_file(ws: Workspace, tmp_path: Path) -> None:
    fuse(ws, "generated", [None] * 4)
    (ws / "fused/generated/interactions/2.parquet").delete()
    with pytest.raises(InputError, match="8 interactions, but its manifest counts 10"):
        write_training_log(ws, SIMULATED, "generated", new_file(tmp_path / "log.parquet"))
    assert not (tmp_path / "log.parquet").exists()


def test_a_table_that_ends_in_an_error_leaves_no_file(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(ZeroDivisionError), writing(new_file(tmp_path / name), TRAINING_LOG) as write:
            write(TRAINING_LOG.empty_table())
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_without_neighbours_it_says_what_to_fit(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Add itemcf, bm25, swing, ease or rp3beta"):
        write_neighbours(ws, new_file(tmp_path / "near.csv"))
