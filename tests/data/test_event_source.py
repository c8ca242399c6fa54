"""The endpoint's log as a source: alone, after another source, and what is refused."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from longtail.data import prepare
from longtail.data.source import KEYED, Source, one_of_each_key
from longtail.data.source_kinds import open_source
from longtail.errors import InputError
from longtail.event_log.log_writer import AppendedFile
from longtail.event_log.records import INTERACTIONS, line
from longtail.recipe import Dataset, Recipe
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place
from tests.data.test_source_kinds import write
from tests.event_log.test_log_writer import HOUR, NOON

SECOND = 1_000_000_000


def log(folder: Path) -> Path:
    return folder / "log"


def event(number: int, user: str, item: str, time: int, **more: object) -> dict:
    about = {"event_id": f"e{number}", "received": NOON, "user_id": user, "item_id": item, "time": time}
    return about | {"kind": "interaction", "weight": None, "recommendation_id": None} | more


def rows(source: Source) -> list[tuple]:
    columns = ["user_id", "item_id", "timestamp", "rating", "row"]
    tables = [table.select(columns) for piece in source.pieces for table in source.read(piece)]
    return [tuple(row.values()) for row in pa.concat_tables(tables).to_pylist()]


def told(folder: Path, *events: dict, at: int = NOON, writer: str = "aaaaaaaa") -> None:
    place = Place(pafs.LocalFileSystem(), str(log(folder) / INTERACTIONS))
    AppendedFile(place, writer, clock=lambda: at).append(b"".join(map(line, events)))


def alone(folder: Path, **dataset: object) -> Source:
    return open_source(
        Recipe(name="test", dataset=Dataset(source="events", path=str(log(folder)), **dataset))
    )


def joined(folder: Path, **dataset: object) -> Source:
    reading = {"log": str(log(folder))} | dataset.pop("events", {})
    about = {"source": "csv", "path": str(folder), "events": reading} | dataset
    return open_source(Recipe(name="test", dataset=Dataset(**about)))


def test_events_are_rows_and_weights_are_ratings(tmp_path: Path) -> None:
    told(tmp_path, event(1, "u", "a", 5, weight=2.5), event(2, "v", "b", 4))
    told(tmp_path, event(3, "u", "b", 6), at=NOON + HOUR, writer="bbbbbbbb")
    source = alone(tmp_path)
    assert rows(source) == [("u", "a", 5, 2.5, 0), ("v", "b", 4, None, 1), ("u", "b", 6, None, 2)]
    assert source.has_times and source.has_ratings and source.catalogue().num_rows == 0


def test_kinds_days_and_weights_can_be_chosen(tmp_path: Path) -> None:
    told(tmp_path, event(1, "u", "a", 5, kind="view"), event(2, "u", "b", 6, weight=1.0))
    told(tmp_path, event(3, "u", "c", 7), at=NOON + 24 * HOUR, writer="bbbbbbbb")
    assert [row[1] for row in rows(alone(tmp_path, events={"kinds": ["view"]}))] == ["a"]
    assert [row[1] for row in rows(alone(tmp_path, events={"until": date(2026, 12, 1)}))] == ["a", "b"]
    liked = [(row[1], row[3]) for row in rows(alone(tmp_path, min_rating=3.0))]
    assert liked == [("a", 3.0), ("b", 1.0), ("c", 3.0)], "an event without weight counts as liked"


def test_the_catalogue_may_lie_beside_the_log(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    told(tmp_path, event(1, "u", "a", 5))
    pq.write_table(pa.table({"item_id": ["a"], "title": ["Lamp"]}), log(tmp_path) / "items.parquet")
    assert [row["title"] for row in alone(tmp_path).catalogue().to_pylist()] == ["Lamp"]


def test_the_state_changes_with_the_log_but_not_with_days_that_are_not_read(tmp_path: Path) -> None:
    told(tmp_path, event(1, "u", "a", 5))
    before, fixed = alone(tmp_path).files, alone(tmp_path, events={"until": date(2026, 12, 1)}).files
    told(tmp_path, event(2, "u", "b", 5), at=NOON + 24 * HOUR, writer="bbbbbbbb")
    assert alone(tmp_path).files != before
    assert alone(tmp_path, events={"until": date(2026, 12, 1)}).files == fixed == before


def test_what_is_appended_after_the_source_was_opened_is_not_read(tmp_path: Path) -> None:
    told(tmp_path, event(1, "u", "a", 5))
    source = alone(tmp_path)
    (file,) = (log(tmp_path) / INTERACTIONS).rglob("*.jsonl")
    with file.open("ab") as stream:
        stream.write(line(event(2, "u", "b", 5)))
    assert [row[1] for row in rows(source)] == ["a"]
    assert [row[1] for row in rows(alone(tmp_path))] == ["a", "b"]


@pytest.mark.parametrize(
    ("times", "settings", "expected"),
    [
        (
            ("2024-05-31", "2024-06-01T12:00:00.5Z"),
            {},
            (1717113600 * SECOND, 1717243200 * SECOND + SECOND // 2),
        ),
        (("1717113600", "1717113601"), {"time_unit": "s"}, (1717113600 * SECOND, 1717113601 * SECOND)),
        (
            ("1717113600.25", "1717113601"),
            {"time_unit": "s"},
            (1717113600 * SECOND + SECOND // 4, 1717113601 * SECOND),
        ),
        (("1717113600000", "7"), {"time_unit": "ms"}, (1717113600 * SECOND, 7_000_000)),
    ],
)
def test_both_logs_are_on_one_time_line(
    tmp_path: Path, times: tuple, settings: dict, expected: tuple[int, int]
) -> None:
    write(
        tmp_path, interactions__csv="user_id,item_id,timestamp\n" + "".join(f"u,i,{time}\n" for time in times)
    )
    told(tmp_path, event(1, "u", "a", NOON))
    source = joined(tmp_path, **settings)
    tables = [table for piece in source.pieces for table in source.read(piece)]
    found = [row for table in tables for row in table.to_pylist()]
    assert [row["timestamp"] for row in found] == [*expected, NOON]
    assert [row["fraction"] for row in found] == [None] * 3, "all are dates"


def test_movielens_counts_seconds(tmp_path: Path) -> None:
    write(
        tmp_path,
        ratings__dat="1::7::5::978300760\n",
        movies__dat="7::Toy Story (1995)::Comedy\n".encode("latin-1"),
    )
    told(tmp_path, event(1, "1", "7", NOON))
    found = rows(joined(tmp_path, source="movielens", min_rating=4.0))
    assert [(row[2], row[3]) for row in found] == [(978300760 * SECOND, 5.0), (NOON, 4.0)]


def test_the_simulated_store_takes_events_of_its_own_users_and_items_only(tmp_path: Path) -> None:
    """It has no true taste of others."""
    strangers = [("alice", "i1"), ("u60", "i1"), ("u007", "i1"), ("u7", "lamp"), ("u7", "i40")]
    told(
        tmp_path,
        event(0, "u7", "i1", NOON),
        *(event(number, *pair, NOON) for number, pair in enumerate(strangers, start=1)),
    )
    about = {"source": "simulated", "path": None, "simulation": {"users": 60, "items": 40, "tastes": 4}}
    assert [row[:3] for row in rows(joined(tmp_path, **about)) if row[2] == NOON] == [("u7", "i1", NOON)]


def test_of_each_id_the_first_is_kept() -> None:
    keys, numbers = ["x", "y", "x", "z", "y", "x"], [5, 1, 3, 4, 2, 6]
    block = pa.table(
        {name: pa.nulls(6, KEYED.field(name).type) for name in KEYED.names} | {"row": numbers, "key": keys},
        schema=KEYED,
    )
    assert sorted(one_of_each_key(block)["row"].to_pylist()) == [1, 3, 4]
    assert one_of_each_key(block.slice(0, 0)).num_rows == 0


CSV = "user_id,item_id,timestamp\nu,a,1\nu,b,2\n"


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({}, "interactions.csv, row 1: the time is a number of an unknown unit.*Set dataset.time_unit"),
        ({"events": {"log": None}}, "dataset.events.log is missing"),
        ({"events": {"log": "nowhere"}}, "is no event log"),
        ({"columns": {"time": None}}, "events have times, but csv has none"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, dataset: dict, says: str) -> None:
    write(tmp_path, interactions__csv=CSV)
    told(tmp_path, event(1, "u", "a", NOON))
    with pytest.raises(InputError, match=says):
        rows(joined(tmp_path, **dataset))


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({"interactions": "x"}, "Remove it"),
        ({"events": {"log": "x"}}, "Remove dataset.events.log"),
        ({"events": {"until": date(2026, 1, 1)}}, "has no event before 2026-01-01"),
        ({"split": "published"}, "has no test file"),
        ({"time_unit": "s"}, "time_unit"),
    ],
)
def test_what_a_log_alone_does_not_have_is_refused(tmp_path: Path, dataset: dict, says: str) -> None:
    told(tmp_path, event(1, "u", "a", NOON))
    with pytest.raises(InputError, match=says):
        alone(tmp_path, **dataset)


def test_a_folder_that_is_no_log_is_refused(tmp_path: Path) -> None:
    log(tmp_path).mkdir()
    with pytest.raises(InputError, match="is no event log: it has no folder interactions"):
        alone(tmp_path)


def test_a_log_without_events_adds_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, interactions__csv=CSV)
    (log(tmp_path) / INTERACTIONS).mkdir(parents=True)
    assert [row[2] for row in rows(joined(tmp_path))] == [1, 2], "times are as they were"


def test_prepare_counts_each_event_once(tmp_path: Path, ray_here: None) -> None:
    """A client sent an event again to another replica: it is in two files, and one interaction."""
    base = "".join(f"u{user},i{item},2024-01-0{item + 1}\n" for user in range(5) for item in range(4))
    write(tmp_path, interactions__csv="user_id,item_id,timestamp\n" + base)
    told(tmp_path, event(1, "u0", "i9", NOON), event(2, "u0", "i8", NOON + 5), event(3, "new", "i0", NOON))
    told(
        tmp_path,
        event(2, "u0", "i8", NOON + 5),
        event(4, "new", "i1", NOON + 1),
        event(5, "new", "i9", NOON + 2),
        writer="bbbbbbbb",
    )
    about = {"source": "csv", "path": str(tmp_path), "events": {"log": str(log(tmp_path))}, "repeats": "all"}
    recipe = Recipe(name="test", dataset=about, evaluation={"protocol": "train-only"})
    ws = Workspace(str(tmp_path / "run"))
    prepare(recipe, ws)
    counts = read_manifest(ws / "data")["counts"]
    assert (counts["rows"], counts["users"], counts["items"]) == (25, 6, 6)
    items = (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()
    histories = (ws / "data/histories").read_table(["user_id", "items"]).to_pylist()
    found = {row["user_id"]: [items[item] for item in row["items"]] for row in histories}
    assert found["u0"] == ["i0", "i1", "i2", "i3", "i9", "i8"] and found["new"] == ["i0", "i1", "i9"]


def test_prepare_names_a_damaged_line(tmp_path: Path, ray_here: None) -> None:
    told(tmp_path, event(1, "u", "a", NOON))
    (file,) = (log(tmp_path) / INTERACTIONS).rglob("*.jsonl")
    with file.open("ab") as stream:
        stream.write(b"{oops\n")
    recipe = Recipe(name="test", dataset={"source": "events", "path": str(log(tmp_path))})
    with pytest.raises(InputError, match=r"jsonl, line 2: '\{oops' is not JSON"):
        prepare(recipe, Workspace(str(tmp_path / "run")))
