"""Raw files: what is read from each format, and one clear error for each way in which they can be wrong."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.data.source import Source, file_states
from longtail.data.source_kinds import open_source
from longtail.errors import InputError
from longtail.recipe import Dataset, Recipe
from longtail.workspace import Workspace

RATINGS = "1\t2\t5\t100\n1\t3\t4\t90\n2\t2\t1\t80\n"
MOVIES = "2|Café (1994)|01-Jan-1994||http://x|0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
CSV = "user_id,item_id,timestamp\nu,a,1\nu,b,2\nv,a,3\n"


def source(folder: Path, kind: str = "csv", **dataset: object) -> Source:
    return open_source(Recipe(name="test", dataset=Dataset(source=kind, path=str(folder), **dataset)))


def rows(opened: Source) -> list[tuple]:
    tables = [table for piece in opened.pieces for table in opened.read(piece)]
    columns = ["user_id", "item_id", "timestamp", "rating", "row"]
    return [tuple(row[name] for name in columns) for row in pa.concat_tables(tables).to_pylist()]


def write(folder: Path, **files: str | bytes) -> Path:
    """Files by name, __ standing for a dot; text as UTF-8."""
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        path = folder / name.replace("__", ".")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return folder


@pytest.mark.parametrize("suffix", ["", "__gz"])
def test_movielens_100k(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "original").mkdir()
    write(
        tmp_path / "original", **{f"u__data{suffix}": RATINGS, f"u__item{suffix}": MOVIES.encode("latin-1")}
    )
    opened = source(tmp_path, "movielens")
    assert rows(opened) == [("1", "2", 100, 5, 0), ("1", "3", 90, 4, 1), ("2", "2", 80, 1, 2)]
    assert opened.catalogue().to_pylist() == [
        {"item_id": "2", "title": "Café (1994)", "attributes": [("genres", "Action|Comedy")]}
    ]


def test_movielens_1m(tmp_path: Path) -> None:
    movies = "1::Toy Story: again (1995)::Animation|Children's\n2::Misérables::\n"
    write(
        tmp_path,
        ratings__dat="1::1193::5::978300760\n7::1::3::978302109\n",
        movies__dat=movies.encode("latin-1"),
    )
    opened = source(tmp_path, "movielens")
    assert rows(opened) == [("1", "1193", 978300760, 5, 0), ("7", "1", 978302109, 3, 1)]
    assert opened.catalogue().to_pylist() == [
        {
            "item_id": "1",
            "title": "Toy Story: again (1995)",
            "attributes": [("genres", "Animation|Children's")],
        },
        {"item_id": "2", "title": "Misérables", "attributes": []},
    ]


def test_csv_keeps_ids_as_they_are_written(tmp_path: Path) -> None:
    write(
        tmp_path,
        log__csv='who,what,when,stars\n007,NA,1.5,4.5\n"a,b",0x1,2,\n',
        items__csv='what,name,kind\nNA,"Quoted, ""name""",\n0x1,,toy\n',
    )
    columns = {
        "user": "who",
        "item": "what",
        "time": "when",
        "rating": "stars",
        "title": "name",
        "attributes": ["kind"],
    }
    opened = source(tmp_path, interactions="log.csv", columns=columns)
    assert rows(opened) == [("007", "NA", 1, 4.5, 0), ("a,b", "0x1", 2, None, 1)]
    assert opened.catalogue().to_pylist() == [
        {"item_id": "NA", "title": 'Quoted, "name"', "attributes": []},
        {"item_id": "0x1", "title": None, "attributes": [("kind", "toy")]},
    ]


def test_parquet_counts_rows_over_row_groups_and_files(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    table = pa.table(
        {"user_id": [1, 2, 3], "item_id": [7, 8, 9], "timestamp": pa.array([1, 2, 3], pa.timestamp("s"))}
    )
    pq.write_table(table, tmp_path / "log" / "a.parquet", row_group_size=2)
    pq.write_table(table, tmp_path / "log" / "b.parquet")
    opened = source(tmp_path, "parquet", interactions="log")
    assert [piece.first_row for piece in opened.pieces] == [0, 2, 0]
    assert [row[:3] for row in rows(opened)] == [
        ("1", "7", 10**9),
        ("2", "8", 2 * 10**9),
        ("3", "9", 3 * 10**9),
    ] * 2
    assert opened.where((1 << 40) + 0) == f"{tmp_path}/log/a.parquet, row 3"


def test_a_table_without_times_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    opened = source(write(tmp_path, interactions__csv=CSV), columns={"time": None})
    assert [row[2] for row in rows(opened)] == [0, 0, 0] and not opened.has_times


Fault = tuple[str, Callable[[Path], Source], str]
FAULTS: list[Fault] = [
    ("no folder", lambda at: source(at / "nowhere"), r"nowhere does not exist"),
    (
        "no path",
        lambda at: open_source(Recipe(name="x", dataset=Dataset(source="csv"))),
        r"dataset.path is missing",
    ),
    ("no file", lambda at: source(write(at, other__txt="x")), r"interactions.csv: no csv file.*other.txt"),
    (
        "no column",
        lambda at: source(write(at, interactions__csv="user,item,timestamp\n1,2,3\n")),
        r"no column 'user_id', but user, item, timestamp. Set dataset.columns.user",
    ),
    (
        "no title column",
        lambda at: source(write(at, interactions__csv=CSV, items__csv="item_id,name\na,b\n")),
        r"items.csv: no column 'title', but item_id, name.*null if the table has none",
    ),
    (
        "items named, not there",
        lambda at: source(write(at, interactions__csv=CSV), items="it.csv"),
        r"it.csv does not",
    ),
    (
        "empty file",
        lambda at: source(write(at, interactions__csv="")),
        r"interactions.csv: the table is empty",
    ),
    (
        "not parquet",
        lambda at: source(write(at, interactions__parquet="x" * 99), "parquet"),
        r"cannot be read as parquet",
    ),
    (
        "rating threshold without ratings",
        lambda at: source(write(at, interactions__csv=CSV), min_rating=4),
        r"dataset.min_rating = 4.0, but the source 'csv' has no ratings",
    ),
    (
        "temporal split without times",
        lambda at: source(write(at, interactions__csv=CSV), split="temporal", columns={"time": None}),
        r"temporal needs times",
    ),
    (
        "movielens on a table",
        lambda at: source(write(at, interactions__parquet="x"), "movielens"),
        r"There is interactions.parquet: set dataset.source to parquet",
    ),
    (
        "half of movielens",
        lambda at: source(write(at, movies__dat="1::a::b"), "movielens"),
        r"ratings.dat is missing",
    ),
    (
        "empty movielens",
        lambda at: source(write(at, u__data="", u__item=MOVIES), "movielens"),
        r"u.data: the file is",
    ),
]


@pytest.mark.parametrize(
    ("opening", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_source_that_cannot_be_opened_says_why(
    tmp_path: Path, opening: Callable[[Path], Source], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opening(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "u,a,1\nu,b,yesterday\n",
            r"interactions.csv, row 2: timestamp = 'yesterday' is not a number or a date of ISO 8601. Give",
        ),
        ("u,a,1\nu,b,inf\n", r"row 2: timestamp = 'inf' is not a number"),
        ("u,a,1\nu,b\n", r"interactions.csv, row 2: 'u,b' has 2 fields, not 3"),
        ("u,a,99999999999999999999\n", r"row 1: timestamp = '9{20}' is not a time that fits in 64 bits"),
        (
            "u,a,1\nu,Caf\xe9,2\n".encode("latin-1"),
            r"interactions.csv, line 3: b'u,Caf\\xe9,2' is not UTF-8. It seems to be Latin-1: set dataset.encoding",
        ),
    ],
)
def test_a_bad_row_of_a_csv_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    content = content if isinstance(content, bytes) else content.encode()
    write(tmp_path, interactions__csv=b"user_id,item_id,timestamp\n" + content)
    with pytest.raises(InputError, match=message):
        rows(source(tmp_path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t2\t9\t80", r"u.data, row 4: rating = '9' is not a rating from 1 to 5"),
        ("1\t2\tnan\t80", r"u.data, row 4: rating = 'nan' is not a number"),
        ("1\t2\t4", r"u.data, row 4: '1\\t2\\t4' has 3 fields, not 4"),
        ("1\t2\t4\t80\t1", r"row 4: .* has 5 fields, not 4"),
        ("1\t2\t4\tnoon", r"row 4: timestamp = 'noon' is not a number"),
    ],
)
def test_a_bad_row_of_movielens_100k_is_named(tmp_path: Path, line: str, message: str) -> None:
    opened = source(write(tmp_path, u__data=RATINGS + line + "\n", u__item=MOVIES), "movielens")
    with pytest.raises(InputError, match=message):
        rows(opened)


def test_a_bad_row_of_movielens_1m_is_named(tmp_path: Path) -> None:
    files = {"ratings__dat": "1::2::5::100\n1::2::5\n", "movies__dat": "1::a\n"}
    opened = source(write(tmp_path, **files), "movielens")
    with pytest.raises(InputError, match=r"ratings.dat, row 2: '1::2::5' has 3 fields, not 4"):
        rows(opened)
    with pytest.raises(InputError, match=r"movies.dat, row 1: '1::a' has 2 fields, not 3"):
        opened.catalogue()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rating": [4.0, float("inf")]}, r"row 2: rating = 'inf' is not a finite number"),
        ({"timestamp": [1.0, float("nan")]}, r"row 2: timestamp = 'nan' is not a finite number"),
        ({"timestamp": [[1], [2]]}, r"column timestamp has type list"),
        ({"user_id": [1.5, 2.0]}, r"column user_id has type double, ids are text or whole numbers"),
    ],
)
def test_a_bad_value_of_a_parquet_table_is_named(
    tmp_path: Path, columns: dict[str, list], message: str
) -> None:
    table = {
        "user_id": ["u", "v"],
        "item_id": ["a", "b"],
        "timestamp": [1, 2],
        "rating": [1.0, 2.0],
    } | columns
    pq.write_table(pa.table(table), tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match=message):
        rows(source(tmp_path, "parquet", columns={"rating": "rating"}))


def test_a_file_is_told_by_its_content_and_only_a_huge_one_by_its_time(tmp_path: Path, monkeypatch) -> None:
    """A machine to which the same files were copied again once tuned both LLMs again."""
    file = tmp_path / "interactions.csv.gz"
    file.write_bytes(gzip.compress(b"user_id,item_id"))
    place = Workspace(str(tmp_path)).root / file.name
    state = file_states([place])
    os.utime(file, ns=(1, 1))
    assert file_states([place]) == state
    file.write_bytes(gzip.compress(b"user_id,item_ix"))
    assert file_states([place]) != state
    monkeypatch.setattr("longtail.data.source._HASHED", 1)
    os.utime(file, ns=(1, 1))
    assert file_states([place]) == [(place.path, file.stat().st_size, 1)]
