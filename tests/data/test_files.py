"""Where raw files are looked for: files, packed files, folders of parts, partitions; and what is no data."""

import gzip
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.data.files import is_hidden
from longtail.data.source import Source
from longtail.errors import InputError
from longtail.workspace.place import Place
from tests.data.test_source_kinds import MOVIES, RATINGS, rows, source
from tests.data.test_table_formats import INTER, ITEM

LOG = "user_id,item_id,timestamp\nu,a,1\nv,b,2\n"
CATALOGUE = "item_id,title\na,A\n"


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Files by their path, packed as their names say; a .parquet from the text of a CSV."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        plain = name.removesuffix(".gz").removesuffix(".zst")
        if plain.endswith(".parquet") and isinstance(content, str):
            header, *lines = [line.split(",") for line in content.splitlines()]
            buffer = pa.BufferOutputStream()
            pq.write_table(
                pa.table(dict(zip(header, map(list, zip(*lines, strict=True)), strict=True))), buffer
            )
            data = buffer.getvalue().to_pybytes()
        if name.endswith(".gz"):
            data = gzip.compress(data)
        if name.endswith(".zst"):
            data = pa.Codec("zstd").compress(data, asbytes=True)
        path.write_bytes(data)
    return folder


def pairs(opened: Source) -> list[tuple[str, str]]:
    return [row[:2] for row in rows(opened)]


def titles(opened: Source) -> dict[str, str]:
    listed = opened.catalogue()
    return dict(zip(listed["item_id"].to_pylist(), listed["title"].to_pylist(), strict=True))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("shape", ["{}", "{}.gz", "{}.zst", "{}/part-0.{kind}", "{}/day=1/part-0.{kind}.gz"])
def test_log_test_and_catalogue_are_found_alike(tmp_path: Path, kind: str, shape: str) -> None:
    """Before, items.csv.gz was not read without a word, and items.parquet/ refused."""
    tables = {"train": LOG, "test": "user_id,item_id,timestamp\nu,b,3\n", "items": CATALOGUE}
    put(tmp_path, {shape.format(f"{name}.{kind}", kind=kind): text for name, text in tables.items()})
    opened = source(tmp_path, kind, split="published")
    assert pairs(opened) == [("u", "a"), ("v", "b"), ("u", "b")] and titles(opened) == {"a": "A"}
    put(tmp_path, {shape.format(f"interactions.{kind}", kind=kind): LOG})
    assert pairs(source(tmp_path, kind)) == [("u", "a"), ("v", "b")]


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_benchmark_files_are_found_alike(tmp_path: Path, packed: str) -> None:
    put(tmp_path / "a", {f"train.txt{packed}": "1 2\n", f"original/test.txt{packed}": "1 3\n"})
    assert pairs(source(tmp_path / "a", "lightgcn", split="published")) == [("1", "2"), ("1", "3")]
    put(
        tmp_path / "b", {"train.txt/0.txt": "1 2\n", f"train.txt/1.txt{packed}": "1 4\n", "test.txt": "1 3\n"}
    )
    assert pairs(source(tmp_path / "b", "lightgcn", split="published"))[:2] == [("1", "2"), ("1", "4")]
    put(tmp_path / "c", {f"log.txt{packed}": "\ufeff1 2\n"})
    assert pairs(source(tmp_path / "c", "sasrec")) == [("1", "2")]
    put(tmp_path / "d", {f"u.data{packed}": RATINGS, f"u.item{packed}": MOVIES.encode("latin-1")})
    opened = source(tmp_path / "d", "movielens")
    assert len(rows(opened)) == 3 and titles(opened) == {"2": "Café (1994)"}
    put(
        tmp_path / "e", {f"x.inter{packed}": INTER + "1\t2\t3\t4\n", f"x.item{packed}": ITEM + "2\tA\t1\tc\n"}
    )
    opened = source(tmp_path / "e", "recbole", columns={"title": "movie_title"})
    assert pairs(opened) == [("1", "2")] and titles(opened) == {"2": "A"}


JUNK = [
    "_temporary/0/p.{}",
    ".ipynb_checkpoints/p.{}",
    "._part-0.{}",
    "_SUCCESS",
    ".part-0.{}.crc",
    "d=1/_tmp.{}",
]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_hidden_parts_are_no_data(tmp_path: Path, kind: str) -> None:
    """Not below the folder of a table; what lies above it may be called as it likes, as a file that is named."""
    folder = tmp_path / ".cache" / "_data"
    junk = {
        f"{name}.{kind}/{path.format(kind)}": b"no table"
        for name in ("interactions", "items")
        for path in JUNK
    }
    put(folder, junk | {f"interactions.{kind}/d=1/p.{kind}": LOG, f"items.{kind}/_d=1/p.{kind}": CATALOGUE})
    opened = source(folder, kind)
    assert pairs(opened) == [("u", "a"), ("v", "b")] and titles(opened) == {"a": "A"}
    put(folder, {f"_log.{kind}": LOG, f"_more/p.{kind}": LOG})
    assert len(rows(source(folder, kind, interactions=f"_log.{kind}"))) == 2
    assert len(rows(source(folder, kind, interactions="_more"))) == 2


def test_hidden_files_are_not_the_only_one_of_their_kind(tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": "1 2\n", "._a.txt": b"\0\5", ".ipynb_checkpoints/a.txt": "1 9\n"})
    assert pairs(source(tmp_path, "sasrec")) == [("1", "2")]


def test_hidden_is_as_spark_has_it() -> None:
    folder = Place.named("/data/_x", "test")
    hidden = ["_a", ".a", "x/_b/c", "x/.b/c", "x/_SUCCESS", "_a=1"]
    shown = ["a", "x/b_c/d.e", "_date=1/a", "x=1/y=/a", "a=_b"]
    assert [name for name in hidden + shown if is_hidden(folder, folder / name)] == hidden


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_folders_with_a_value_are_columns(tmp_path: Path, kind: str) -> None:
    table = "item_id\na\nb\n"
    put(
        tmp_path,
        {
            f"interactions.{kind}/user_id=u%2F1/_day=7/p.{kind}": table,
            f"interactions.{kind}/user_id=__HIVE_DEFAULT_PARTITION__/_day=8/p.{kind}": table,
        },
    )
    found = rows(source(tmp_path, kind, columns={"time": "_day"}))
    assert [row[:3] for row in found] == [(None, "a", 8), (None, "b", 8), ("u/1", "a", 7), ("u/1", "b", 7)]
    with pytest.raises(InputError, match=r"no column 'day', but item_id, user_id, _day"):
        source(tmp_path, kind, columns={"time": "day"})


def test_parts_may_differ_in_types_and_order(tmp_path: Path) -> None:
    folder = tmp_path / "interactions.parquet"
    folder.mkdir()
    pq.write_table(pa.table({"user_id": [1], "item_id": ["a"], "timestamp": [1]}), folder / "0.parquet")
    other = {
        "timestamp": ["2"],
        "item_id": pa.array([7], pa.int16()),
        "user_id": pa.array(["u"]).dictionary_encode(),
    }
    pq.write_table(pa.table(other), folder / "1.parquet")
    assert [row[:3] for row in rows(source(tmp_path, "parquet"))] == [("1", "a", 1), ("u", "7", 2)]
    pq.write_table(pa.table({"user_id": [1]}), folder / "2.parquet")
    with pytest.raises(InputError, match=r"2.parquet: no column 'item_id'"):
        source(tmp_path, "parquet")


def test_an_empty_part_of_text_has_no_header(tmp_path: Path) -> None:
    put(tmp_path, {"interactions.csv/part-0.csv": "", "interactions.csv/part-1.csv": LOG})
    assert len(rows(source(tmp_path))) == 2
    put(tmp_path, {"interactions.parquet/part-0.parquet": b"", "interactions.parquet/part-1.parquet": LOG})
    with pytest.raises(InputError, match=r"part-0.parquet cannot be read as parquet"):
        source(tmp_path, "parquet")


def test_what_lies_there_and_is_not_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("longtail").propagate = True
    put(
        tmp_path,
        {"interactions.csv/a.csv": LOG, "interactions.csv/b.CSV": LOG, "interactions.csv/c.txt": LOG},
    )
    put(tmp_path, {"items.parquet": CATALOGUE})
    with caplog.at_level(logging.WARNING, "longtail"):
        assert len(rows(source(tmp_path))) == 4
    assert "interactions.csv: not read, because the name does not end in .csv: c.txt" in caplog.text
    assert "items.parquet is not read" in caplog.text


def test_the_path_may_name_the_table_itself(tmp_path: Path) -> None:
    """Before, a file as dataset.path was a traceback for every source."""
    put(tmp_path / "a", {"log.csv": LOG, "items.csv.gz": CATALOGUE})
    opened = source(tmp_path / "a" / "log.csv")
    assert pairs(opened) == [("u", "a"), ("v", "b")] and titles(opened) == {"a": "A"}
    put(tmp_path / "b", {"log.parquet/p.parquet": LOG, "items.parquet": CATALOGUE, "x.csv/l.csv": LOG})
    assert len(rows(source(tmp_path / "b" / "x.csv", interactions="l.csv"))) == 2
    opened = source(tmp_path / "b" / "log.parquet", "parquet")
    assert pairs(opened) == [("u", "a"), ("v", "b")] and titles(opened) == {"a": "A"}
    put(tmp_path / "c", {"x.inter": INTER + "1\t2\t3\t4\n", "x.item": ITEM + "2\tA\t1\tc\n", "y.item": ITEM})
    opened = source(tmp_path / "c" / "x.inter", "recbole", columns={"title": "movie_title"})
    assert pairs(opened) == [("1", "2")] and titles(opened) == {"2": "A"}
    put(tmp_path / "d", {"train.txt": "1 2\n", "test.txt": "1 3\n", "other.txt": "1 4\n"})
    assert len(rows(source(tmp_path / "d" / "train.txt", "lightgcn", split="published"))) == 2
    assert pairs(source(tmp_path / "d" / "other.txt", "sasrec")) == [("1", "4")]
    put(
        tmp_path / "e",
        {"u.data": RATINGS, "u.item": MOVIES.encode("latin-1"), "ratings.dat": "", "movies.dat": ""},
    )
    assert len(rows(source(tmp_path / "e" / "u.data", "movielens"))) == 3
    (tmp_path / "blob").write_text(LOG)
    (tmp_path / "a" / "link.csv").symlink_to(tmp_path / "blob")
    assert titles(source(tmp_path / "a" / "link.csv")) == {"a": "A"}, "a link keeps its own folder"


def link(at: Path, target: str) -> Path:
    (at / "link").symlink_to(target)
    return at / "link"


def pipe(at: Path) -> Path:
    os.mkfifo(at / "pipe")
    return at / "pipe"


PATHS: list[tuple[str, Callable[[Path], str | Path], str, str]] = [
    ("no such scheme", lambda at: "s4://x", "csv", r"dataset.path = 's4://x' cannot be opened"),
    ("a web page", lambda at: "https://x.org/log.csv", "csv", r"dataset.path = .* cannot be opened"),
    ("nobody's home", lambda at: "~nobody-is-called-so/x", "csv", r"dataset.path = .* cannot be opened"),
    ("empty", lambda at: "", "csv", r"dataset.path = '' "),
    ("a zero byte", lambda at: "a\0b", "csv", r"dataset.path = "),
    ("too long", lambda at: "x" * 5000, "csv", r"dataset.path|cannot be read"),
    ("nowhere in /proc", lambda at: "/proc/x", "csv", r"dataset.path: /proc/x does not exist"),
    ("a file of /proc", lambda at: "/proc/self/mem", "csv", r"/proc/self/mem"),
    ("a device", lambda at: "/dev/null", "csv", r"dataset.path: /dev/null is neither a file nor a folder"),
    ("a pipe", pipe, "csv", r"pipe is neither a file nor a folder"),
    ("a dangling link", lambda at: link(at, "/nowhere"), "csv", r"dataset.path: .*/link does not exist"),
    ("a link to itself", lambda at: link(at, "link"), "csv", r"dataset.path|cannot be read"),
    ("below a file", lambda at: put(at, {"f": "x"}) / "f" / "g", "csv", r"does not exist|cannot be read"),
    (
        "a test file as log",
        lambda at: put(at, {"test.txt": "1 2"}) / "test.txt",
        "lightgcn",
        r"both train and test",
    ),
    (
        "another file of MovieLens",
        lambda at: put(at, {"x": "1"}) / "x",
        "movielens",
        r"neither u.data nor ratings.dat",
    ),
    (
        "u.data alone",
        lambda at: put(at, {"u.data": RATINGS}) / "u.data",
        "movielens",
        r"u.item is missing beside",
    ),
]


@pytest.mark.parametrize(
    ("path", "kind", "message"), [case[1:] for case in PATHS], ids=[case[0] for case in PATHS]
)
def test_a_path_that_leads_nowhere_is_one_message(
    tmp_path: Path, path: Callable[[Path], str | Path], kind: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opened = source(path(tmp_path), kind, **({"split": "published"} if kind == "lightgcn" else {}))
        rows(opened)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may not read")
def test_what_may_not_be_read_is_one_message(tmp_path: Path) -> None:
    """Everybody may look for the folder, nobody into it or into the file."""
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(0o711)
    put(tmp_path / "a", {"interactions.csv": LOG})
    put(tmp_path / "b", {"interactions.csv": LOG})
    (tmp_path / "a").chmod(0)
    (tmp_path / "b" / "interactions.csv").chmod(0)
    os.seteuid(65534)
    try:
        for folder in ("a", "b"):
            with pytest.raises(InputError, match=r"Permission denied"):
                source(tmp_path / folder)
    finally:
        os.seteuid(0)


FAULTS: list[tuple[str, dict[str, str | bytes], str, dict[str, str], str]] = [
    (
        "two catalogues",
        {"interactions.csv": LOG, "items.csv": CATALOGUE, "items.csv.gz": CATALOGUE},
        "csv",
        {},
        r"items.csv and items.csv.gz are both there. Remove one",
    ),
    (
        "a part that is there twice",
        {"interactions.csv/a.csv": LOG, "interactions.csv/a.csv.gz": LOG},
        "csv",
        {},
        r"a.csv and a.csv.gz are both there",
    ),
    (
        "a job that has not ended",
        {"interactions.parquet": LOG, "items.parquet/_temporary/p.parquet": CATALOGUE},
        "parquet",
        {},
        r"items.parquet is a folder without a parquet file. It has: _temporary/",
    ),
    (
        "a Delta table",
        {"interactions.parquet/p.parquet": LOG, "interactions.parquet/_delta_log/0.json": "{}"},
        "parquet",
        {},
        r"is a table of Delta Lake",
    ),
    (
        "the path and the setting disagree",
        {"interactions.csv": LOG, "log.csv": LOG},
        "csv",
        {"path": "log.csv", "interactions": "interactions.csv"},
        r"dataset.interactions = 'interactions.csv' another one",
    ),
    ("cut off", {"interactions.csv.gz": b"\x1f\x8b\x08\x00\x00"}, "csv", {}, r"csv.gz"),
    ("no gzip", {"a.txt.bz2": b"1 2\n"}, "sasrec", {}, r"a.txt.bz2 cannot be read"),
]


@pytest.mark.parametrize(
    ("files", "kind", "settings", "message"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
def test_what_could_be_meant_twice_or_not_at_all_is_refused(
    tmp_path: Path, files: dict[str, str | bytes], kind: str, settings: dict[str, str], message: str
) -> None:
    for name, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            put(tmp_path, {name: content})
    path = tmp_path / settings.pop("path", "")
    with pytest.raises(InputError, match=message):
        rows(source(path, kind, **settings))


def test_a_name_that_a_user_wrote_is_taken_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, {"interactions.csv": LOG, "items.csv": CATALOGUE, "items.csv.gz": "item_id,title\na,B\n"})
    assert titles(source(tmp_path, items="items.csv")) == {"a": "A"}
    assert titles(source(tmp_path, items="items.csv.gz")) == {"a": "B"}
