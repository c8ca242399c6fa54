"""Small inputs of many kinds that were read wrong once, from beside the project, and what should come of each."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from longtail.data import Prepared, prepare
from longtail.data.source_kinds import open_source
from longtail.errors import InputError
from longtail.recipe import load_recipe
from longtail.workspace import Workspace
from tests.conftest import ROOT
from tests.data.test_prepare_stage import actual_histories
from tests.data.test_source_kinds import rows

CASES = Path(os.environ.get("LONGTAIL_CASES", ROOT.parent / "shared" / "cases"))
PLAIN = {"u1": ["a", "b", "c"], "u2": ["a", "c", "b"]}
TITLES = {"a": "A", "b": "B", "c": "C"}

pytestmark = [
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.skipif(not CASES.exists(), reason="the cases are not on this machine (set LONGTAIL_CASES)"),
]


def prepared(at: Path, case: str, path: str = "", *changes: str) -> Prepared:
    folder = CASES / case
    ws = Workspace(str(at / "ws"))
    changes = (f"dataset.path={folder / path if path else folder}", *changes)
    prepare(load_recipe(folder / "my.yaml", list(changes)), ws)
    return Prepared(ws)


def items_of(data: Prepared) -> dict[str, list[str]]:
    return {user: [item for _, item in history] for user, history in actual_histories(data).items()}


def titles_of(data: Prepared) -> dict[str, str | None]:
    return dict(zip(data.items["item_id"].to_pylist(), data.items["title"].to_pylist(), strict=True))


REFUSED = [
    ("open_quote_log", "", (), r"interactions\.csv, line 3: a quote opens the value"),
    (
        "latin1_header",
        "",
        (),
        r"interactions\.csv, line 1: the name of column 4, b'pr\\xe9nom', is not UTF-8",
    ),
    ("attr_struct", "", (), r"items\.parquet: column g has type struct<a: int64>"),
    ("time_duration", "", (), r"interactions\.parquet: column timestamp has type duration\[us\]"),
    ("semicolon", "", (), r"User-ID;.*set dataset\.delimiter|separated by ';': set dataset\.delimiter"),
    ("path_is_file", "interactions.parquet", (), r"is Parquet\. Set dataset\.source to parquet"),
    ("path_is_file", "u.data", ("dataset.source=movielens",), r"u\.item is missing beside"),
    ("path_is_file", "x.txt", ("dataset.source=lightgcn", "dataset.split=published"), r"no test\.txt"),
    ("path_is_file", "x.inter", (), r"x\.inter: no column 'user_id'.*'\\t': set dataset\.delimiter"),
]


@pytest.mark.parametrize(
    ("case", "path", "changes", "message"), REFUSED, ids=[f"{case[0]}-{case[1]}" for case in REFUSED]
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, case: str, path: str, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, case, path, *changes)


READ: list[tuple[str, str, tuple[str, ...], dict[str, list[str]]]] = [
    ("float_time", "", (), {"u1": ["a", "b", "c"], "u2": ["c", "a", "b"]}),
    ("junk_dirs", "", (), PLAIN),
    ("attr_list_null", "", (), PLAIN),
    ("spark_folder", "", (), PLAIN),
    ("spark_folder", "interactions.parquet", (), PLAIN),
    ("iso_csv", "", (), PLAIN),
    ("path_is_file", "interactions.csv", (), PLAIN),
    ("path_is_file", "interactions.parquet", ("dataset.source=parquet",), PLAIN),
]


@pytest.mark.parametrize(
    ("case", "path", "changes", "histories"), READ, ids=[f"{case[0]}-{case[1]}" for case in READ]
)
def test_what_is_meant_is_read(
    tmp_path: Path, case: str, path: str, changes: tuple[str, ...], histories: dict[str, list[str]]
) -> None:
    data = prepared(tmp_path, case, path, *changes)
    assert items_of(data) == histories
    if case == "spark_folder":
        assert titles_of(data) == TITLES
    if case == "attr_list_null":
        tags = dict(zip(data.items["item_id"].to_pylist(), data.items["attributes"].to_pylist(), strict=True))
        assert tags == {"a": [("g", "x")], "b": [], "c": []}


SHORT = [
    ("path_is_file", "x.inter", ("dataset.source=recbole", "dataset.columns.time=null"), [("1", "2")]),
    ("path_is_file", "x.txt", ("dataset.source=sasrec",), [("1", "2")]),
    (
        "semicolon",
        "",
        ("dataset.delimiter=;", "dataset.encoding=latin-1"),
        [("276725", "034545104X"), ("276726", "0155061224")],
    ),
]


@pytest.mark.parametrize(
    ("case", "path", "changes", "pairs"), SHORT, ids=[f"{case[0]}-{case[1]}" for case in SHORT]
)
def test_what_is_too_short_to_evaluate_is_read_all_the_same(
    tmp_path: Path, case: str, path: str, changes: tuple[str, ...], pairs: list[tuple[str, str]]
) -> None:
    recipe = load_recipe(CASES / case / "my.yaml", [f"dataset.path={CASES / case / path}", *changes])
    assert [row[:2] for row in rows(open_source(recipe))] == pairs
    with pytest.raises(InputError, match=r"^dataset: "):
        prepare(recipe, Workspace(str(tmp_path / "ws")))


def test_titles_keep_the_signs_that_join_letters(tmp_path: Path) -> None:
    titles = titles_of(prepared(tmp_path, "title_cf"))
    assert titles["a"] == "می‌خواهم برنامه‌ها"
    assert titles["b"] == "Donaudampfschiff", "a soft hyphen vanishes without a blank"
    assert "👨‍👩‍👧 & 🏳️‍🌈" in titles["c"]
    assert titles["g"] == "क्‍ष" and titles["h"] == "कॉफ़ी"
    assert titles["f"] == "No Yes"


def test_ids_that_never_join_are_joined_or_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("longtail").propagate = True
    with caplog.at_level(logging.WARNING, "longtail"):
        try:
            titles = titles_of(prepared(tmp_path, "ids_float_items"))
        except InputError as error:
            assert "1.0" in str(error)
            return
    assert titles.get("1") == "A" or "1.0" in caplog.text


def test_words_for_nothing_are_no_users(tmp_path: Path) -> None:
    data = prepared(tmp_path, "null_words")
    assert items_of(data) == PLAIN
    dropped: Callable[[str], int] = data.counts["dropped"].get
    assert sum(filter(None, (dropped("null_user_id"), dropped("null_word_user_id")))) == 4
