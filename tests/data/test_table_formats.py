"""Benchmark formats: LightGCN and SASRec text, RecBole atomic files; what is read, and what is refused in words."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data import number_files as texts
from longtail.errors import InputError
from tests.data.test_source_kinds import rows, source, write

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


def lightgcn(folder: Path, **dataset: object) -> list[tuple]:
    return [row[:3] for row in rows(source(folder, "lightgcn", split="published", **dataset))]


def test_lightgcn_text_is_train_then_test(tmp_path: Path) -> None:
    """Trailing blanks, an empty line and a user without items, as the published files have them."""
    write(tmp_path, train__txt="0 7 8 \n\n1 9\n", test__txt="0\n1 7\n")
    assert lightgcn(tmp_path) == [("0", "7", 0), ("0", "8", 0), ("1", "9", 0), ("1", "7", 1)]


def test_lightgcn_text_may_be_gzipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "original").mkdir()
    write(tmp_path / "original", t__txt__gz="5 6\r\n", test__txt__gz="5 7\n")
    assert lightgcn(tmp_path, interactions="t.txt") == [("5", "6", 0), ("5", "7", 1)]


@given(st.dictionaries(st.integers(0, 99), st.lists(st.integers(0, 99), max_size=9), max_size=30))
def test_lightgcn_lines_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, baskets: dict[int, list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("text")
    lines = [" ".join(map(str, [user, *items])) for user, items in baskets.items()]
    write(folder, train__txt="\n".join(lines), test__txt="0 1\n")
    expected = [(str(user), str(item), 0) for user, items in baskets.items() for item in items]
    assert lightgcn(folder) == [*expected, ("0", "1", 1)]


def test_sasrec_text_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, Video__txt="1 30\n1 20\n2 30\n1 10\n")
    opened = source(tmp_path, "sasrec")
    assert [row[:2] + row[4:] for row in rows(opened)] == [
        ("1", "30", 0),
        ("1", "20", 1),
        ("2", "30", 2),
        ("1", "10", 3),
    ]
    assert not opened.has_times and opened.catalogue().num_rows == 0


def test_blocks_of_lines_count_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LINES_AT_ONCE", 2)
    write(tmp_path, a__txt="1 2\n\n1 3\n1 4\n1 5\n")
    assert [row[4] for row in rows(source(tmp_path, "sasrec"))] == [0, 1, 2, 3]
    write(tmp_path, a__txt="1 2\n\n1 3\n1 4\n1\n")
    with pytest.raises(InputError, match=r"a.txt, line 5: '1' has 1 fields, not 2"):
        rows(source(tmp_path, "sasrec"))


def test_recbole_atomic_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        ml__inter=INTER + '196\t"x\t3\t8.81250949E8\n007\tb\t4.5\t891717742\n',
        ml__item=ITEM + 'b\tThe "Wind", again\t1995\tAction Comedy\n"x\t\t\t\n',
    )
    columns = {"rating": "rating", "title": "movie_title", "attributes": ["class"]}
    opened = source(tmp_path, "recbole", columns=columns)
    assert rows(opened) == [("196", '"x', 881250949, 3, 0), ("007", "b", 891717742, 4.5, 1)]
    assert opened.catalogue().to_pylist() == [
        {"item_id": "b", "title": 'The "Wind", again', "attributes": [("class", "Action Comedy")]},
        {"item_id": '"x', "title": None, "attributes": []},
    ]


def test_recbole_files_of_a_published_split_are_named(tmp_path: Path) -> None:
    write(tmp_path, ml__train__inter=INTER + "1\ta\t3\t9\n", ml__test__inter=INTER + "1\tb\t3\t5\n")
    files = {"interactions": "ml.train.inter", "test": "ml.test.inter"}
    opened = source(tmp_path, "recbole", split="published", **files)
    assert [row[:3] for row in rows(opened)] == [("1", "a", 0), ("1", "b", 1)]
    with pytest.raises(InputError, match=r"dataset.interactions is missing: name the .inter file"):
        source(tmp_path, "recbole", split="published")
    with pytest.raises(InputError, match=r"2 .inter files, one is needed. Set dataset.interactions"):
        source(tmp_path, "recbole")


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("no test.txt", lambda at: lightgcn(write(at, train__txt="1 2\n")), r"no test.txt. Set dataset.test"),
    (
        "a header",
        lambda at: lightgcn(write(at, train__txt="user item\n", test__txt="1 2")),
        r"train.txt, line 1: 'user item' is not a line of whole numbers",
    ),
    (
        "not UTF-8",
        lambda at: lightgcn(write(at, train__txt=b"1 2\n1 \xe9\n", test__txt="1 2")),
        r"train.txt, line 2",
    ),
    (
        "lightgcn without a published split",
        lambda at: source(write(at, train__txt="1 2\n", test__txt="1 3\n"), "lightgcn"),
        r"dataset.split = leave-one-out, but LightGCN files have no times. Set split to published",
    ),
    (
        "sequences where pairs belong",
        lambda at: rows(source(write(at, Beauty__txt="1 2 3\n"), "sasrec")),
        r"line 1: '1 2 3' has 3 fields, not 2",
    ),
    (
        "two texts",
        lambda at: source(write(at, a__txt="1 2", b__txt="1 2"), "sasrec"),
        r"2 text files of interactions, one is needed. Set dataset.interactions. There: a.txt, b.txt",
    ),
    ("no text", lambda at: source(at, "sasrec"), r"0 text files"),
    (
        "temporal split of SASRec text",
        lambda at: source(write(at, a__txt="1 2\n"), "sasrec", split="temporal"),
        r"temporal needs times",
    ),
    (
        "untyped header",
        lambda at: source(write(at, a__inter="user_id\titem_id\n1\t2\n"), "recbole"),
        r"column 'user_id' has no type. Write name:type",
    ),
    (
        "RecBole without titles",
        lambda at: source(
            write(at, a__inter=INTER + "1\t2\t3\t4\n", a__item=ITEM + "2\tA\t1\tb\n"), "recbole"
        ),
        r"a.item: no column 'title', but item_id, movie_title.*dataset.columns.title, or to null",
    ),
    (
        "a RecBole row too short",
        lambda at: rows(source(write(at, a__inter=INTER + "1\t2\t3\n"), "recbole")),
        r"a.inter, row 1: '1\\t2\\t3' has 3 fields, not 4",
    ),
    (
        "published split of MovieLens",
        lambda at: source(at, "movielens", split="published"),
        r"the source 'movielens' has no test file.*parquet, csv, recbole, lightgcn",
    ),
    (
        "a test file that no split reads",
        lambda at: source(at, "csv", test="test.csv"),
        r"dataset.test = 'test.csv' is only read by a published split",
    ),
]


@pytest.mark.parametrize(("opening", "message"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_what_cannot_be_read_says_why(
    tmp_path: Path, opening: Callable[[Path], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opening(tmp_path)


def test_the_published_video_file_is_the_table(real_data) -> None:
    folder = real_data("sasrec-video")
    read = rows(source(folder, "sasrec"))
    table = pq.read_table(folder / "interactions.parquet").to_pandas()
    assert [(row[0], row[1]) for row in read] == list(
        zip(table["user"].astype(str), table["item"].astype(str), strict=True)
    )


def test_the_published_gowalla_test_file_is_the_table(tmp_path: Path, real_data) -> None:
    folder = real_data("lightgcn-gowalla")
    packed = (folder / "original" / "test.txt.gz").read_bytes()
    write(tmp_path, train__txt="0 1\n", test__txt=gzip.decompress(packed))
    read = [(int(row[0]), int(row[1])) for row in rows(source(tmp_path, "lightgcn", split="published"))[1:]]
    table = pq.read_table(folder / "test.parquet")
    written = pa.table({"user": [user for user, _ in read], "item": [item for _, item in read]})
    np.testing.assert_array_equal(
        np.unique(np.stack([written["user"], written["item"]]), axis=1),
        np.unique(np.stack([table["user"], table["item"]]), axis=1),
    )
    assert len(read) == table.num_rows == 217_242
