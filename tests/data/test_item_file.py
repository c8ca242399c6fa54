"""A file of new items is read as the catalogue of the recipe is, and what is no such table is one clear message."""

from pathlib import Path

import pyarrow as pa
import pytest

from longtail.data.item_file import read_item_file
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.schema import ITEMS
from tests.data.test_files import put

NAMED = {"item": "asin", "title": "name", "attributes": ["brand"]}
ROWS = "asin,name,brand\nx1, Red soap ,Acme\nx2,,\n"
KNOWN = pa.Table.from_pylist([{"item_id": "a1", "title": "Soap", "attributes": [("genre", "war")]}], ITEMS)


def read(folder: Path, name: str, content: str | bytes, known: pa.Table = KNOWN, **dataset: object):
    put(folder, {name: content})
    found, _ = read_item_file(str(folder / name), Dataset.model_validate(dataset), known)
    return found.to_pylist()


@pytest.mark.parametrize("name", ["new.csv", "new.parquet", "new.csv.gz"])
@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_the_columns_are_those_of_the_recipe_whatever_the_kind_of_the_file(
    tmp_path: Path, name: str, source: str
) -> None:
    found = read(tmp_path, name, ROWS, source=source, path="nowhere", columns=NAMED)
    assert found == [
        {"item_id": "x1", "title": "Red soap", "attributes": [("brand", "Acme")]},
        {"item_id": "x2", "title": None, "attributes": []},
    ]


def test_a_csv_file_is_written_as_that_of_the_recipe(tmp_path: Path) -> None:
    found = read(
        tmp_path, "new.csv", ROWS.replace(",", ";"), source="csv", path="x", columns=NAMED, delimiter=";"
    )
    assert [row["item_id"] for row in found] == ["x1", "x2"]


def test_a_source_without_columns_has_the_names_of_the_workspace(tmp_path: Path) -> None:
    found = read(tmp_path, "new.csv", "item_id,title,genre\nn1,Tea,drama|war\n", source="movielens", path="x")
    assert found == [{"item_id": "n1", "title": "Tea", "attributes": [("genre", "drama|war")]}]


def test_whole_numbers_are_written_as_the_log_writes_them(tmp_path: Path) -> None:
    known = KNOWN.set_column(1, ITEMS.field("item_id"), pa.array(["7"]))
    found = read(tmp_path, "new.csv", "item_id,title,genre\n7.0,Tea,\n8.0,Cup,\n", known)
    assert [row["item_id"] for row in found] == ["7", "8"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "new.csv",
            "id,name,brand\nx,A,B\n",
            "no column 'asin', but id, name, brand. .*dataset.columns.item",
        ),
        ("new.csv", "asin,title,brand\nx,A,B\n", "no column 'name'.*dataset.columns.title"),
        ("new.csv", "asin,name\nx,A\n", "no column 'brand'.*dataset.columns.attributes"),
        ("new.csv", ROWS + "x1,Other,\n", "has the item id 'x1' 2 times"),
        ("new.csv", "asin,name,brand\n", "has no rows"),
        ("new.csv", "", "new.csv"),
        ("new.csv", b"\xff\xfe\x00\x80,,,", "new.csv"),
        ("new.parquet", b"this is text", "cannot be read as parquet"),
        ("new.xlsx", b"PK", "neither .parquet nor .csv"),
        ("new", ROWS, "neither .parquet nor .csv"),
        ("new.item", ROWS, "neither .parquet nor .csv"),
        ("new.csv", "asin,name,brand\n,A,\nx,B,\n", "1 of 2 rows have no item id"),
    ],
)
def test_what_is_no_such_table_is_said(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, name, content, source="csv", path="x", columns=NAMED)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FILE: .*does not exist"):
        read_item_file(str(tmp_path / "new.csv"), Dataset(), KNOWN)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv"):
        read_item_file(str(tmp_path / "folder.csv"), Dataset(), KNOWN)
