"""`longtail init` on every form of data that the readers know: the recipe it writes reads them as they are meant."""

import re
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from longtail.cli import main
from longtail.command.init import LLM, init
from longtail.data.source_kinds import open_source
from longtail.errors import InputError
from longtail.recipe import Recipe, load_recipe
from tests.data.test_source_kinds import CSV, MOVIES, RATINGS, rows, write


def recipe_for(data: Path, to: Path | None = None) -> Recipe:
    """What is written for `data`, loaded as a run loads it."""
    _, path = init(str(data), to or data.parent / "written.yaml")
    return load_recipe(path)


def pairs(recipe: Recipe) -> list[tuple[str, str]]:
    return [row[:2] for row in rows(open_source(recipe))]


PAIRS = [("u", "a"), ("u", "b"), ("v", "a")]
ML_1M = {"ratings__dat": "1::2::5::978300760\n1::3::4::978300761\n", "movies__dat": "2::A (1990)::Drama\n"}
INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t1\t1000000000\nu\tb\t1\t1000000001\n"
)
ITEM = "item_id:token\tmovie_title:token_seq\tgenre:token_seq\na\tThe A\tX\n"

FORMS: dict[str, tuple[dict[str, str | bytes], dict[str, object], int]] = {
    "movielens 100k": ({"u__data": RATINGS, "u__item": MOVIES}, {"source": "movielens"}, 3),
    "movielens 1m": (ML_1M, {"source": "movielens"}, 2),
    "packed": ({"interactions__csv__gz": CSV}, {"source": "csv", "interactions": None}, 3),
    "csv": ({"interactions__csv": CSV}, {"source": "csv", "interactions": None, "delimiter": ","}, 3),
    "any name": ({"log__csv": CSV}, {"interactions": "log.csv"}, 3),
    "tsv": ({"log__tsv": CSV.replace(",", "\t")}, {"source": "csv", "delimiter": "\t"}, 3),
    "semicolons": ({"log__csv": CSV.replace(",", ";")}, {"delimiter": ";"}, 3),
    "latin-1": ({"log__csv": "user_id,item_id\nu,é\n".encode("latin-1")}, {"encoding": "latin-1"}, 1),
    "utf-16": ({"log__csv": "user_id,item_id\nu,é\n".encode("utf-16")}, {"encoding": "utf-16"}, 1),
    "recbole": ({"ml__inter": INTER, "ml__item": ITEM}, {"source": "recbole", "time_unit": "s"}, 2),
    "lightgcn": ({"train__txt": "0 1 2\n1 2\n", "test__txt": "0 3\n"}, {"source": "lightgcn", "split": "published"}, 4),
    "sasrec": ({"Video__txt": "1 2\n1 3\n2 2\n"}, {"source": "sasrec", "split": "leave-one-out"}, 3),
    "published": ({"train__csv": CSV, "test__csv": CSV}, {"split": "published", "test": "test.csv"}, 6),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_recipe_reads_the_data(tmp_path: Path, form: str) -> None:
    files, expected, number = FORMS[form]
    (data := tmp_path / "data").mkdir()
    recipe = recipe_for(write(data, **files))
    assert {key: getattr(recipe.dataset, key) for key in expected} == expected
    assert len(pairs(recipe)) == number
    assert recipe.name == "data" and recipe.variants == ["observed"] and not recipe.augmented


@pytest.mark.parametrize(
    "name", ["log.csv", "interactions.csv", "u.data", "ml.inter", "Video.txt", "log.parquet"]
)
def test_a_single_file_is_read_too(tmp_path: Path, name: str) -> None:
    contents = {"u.data": RATINGS, "ml.inter": INTER, "Video.txt": "1 2\n1 3\n"}
    if name == "log.parquet":
        pq.write_table(pa.table({"user_id": ["u"], "item_id": ["a"]}), tmp_path / name)
    else:
        (tmp_path / name).write_text(contents.get(name, CSV))
    if name == "u.data":
        (tmp_path / "u.item").write_text(MOVIES)
    recipe = recipe_for(tmp_path / name, tmp_path / "my.yaml")
    assert pairs(recipe) and recipe.name == ("u" if name == "u.data" else name.partition(".")[0])


def test_movielens_as_csv_is_two_tables_of_other_names(tmp_path: Path) -> None:
    (data := tmp_path / "ml-latest").mkdir()
    (data / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,4.0,978300760\n")
    (data / "movies.csv").write_text('movieId,title,genres\n2,"A, b",X|Y\n')
    (data / "links.csv").write_text("movieId,imdbId\n2,7\n")
    recipe = recipe_for(data)
    dataset, columns = recipe.dataset, recipe.dataset.columns
    assert (dataset.interactions, dataset.items, dataset.time_unit) == ("ratings.csv", "movies.csv", "s")
    assert (columns.user, columns.item, columns.rating, columns.title) == (
        "userId",
        "movieId",
        "rating",
        "title",
    )
    assert open_source(recipe).catalogue().to_pylist() == [
        {"item_id": "2", "title": "A, b", "attributes": [("genres", "X|Y")]}
    ]


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([1_700_000_000, 1_700_000_001], "s"),
        ([1_700_000_000_000, 1_700_000_000_001], "ms"),
        ([1_700_000_000_000_000, 1_700_000_000_000_001], "us"),
        ([1_700_000_000_000_000_000, 1_700_000_000_000_000_001], "ns"),
        ([1, 2], None),
        ([datetime(2024, 1, 1), datetime(2024, 1, 2)], None),
        (["2024-01-01", "2024-01-02T10:00:00Z"], None),
        (["1700000000", "1700000001"], "s"),
    ],
)
def test_the_unit_of_times_is_told_by_their_size(tmp_path: Path, times: list, unit: str | None) -> None:
    (data := tmp_path / "log.parquet").mkdir()
    table = pa.table({"user": ["u", "u"], "product_id": [1, 2], "created_at": times})
    pq.write_table(table, data / "part-0.parquet")
    pq.write_table(table, data / "part-1.parquet")
    recipe = recipe_for(data)
    assert (recipe.dataset.time_unit, recipe.dataset.columns.time) == (unit, "created_at")
    assert pairs(recipe) == [("u", "1"), ("u", "2")] * 2


def test_without_times_rows_stand_in_order(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item\nu,a\nu,b\nv,a\n")
    recipe = recipe_for(tmp_path / "log.csv", tmp_path / "my.yaml")
    assert recipe.dataset.columns.time is None and pairs(recipe) == PAIRS


FAULTS = [
    ({"log__csv": "a,b\n1,2\n"}, r"log.csv has a, b. Name the columns user_id and item_id"),
    ({"log__csv": "u,a,1\nv,b,2\n"}, r"log.csv has u, a, 1\. .*first line"),
    ({"notes__md": "x"}, r"no table of interactions was recognised. In .*: notes.md"),
    ({"a__csv": CSV, "b__csv": CSV.replace("timestamp", "when")}, r"a.csv, b.csv all have users and items"),
    (
        {"log__csv": "user,item,time\nu,a,31/12/2024\n"},
        r"log.csv, row 1: time = '31/12/2024' is not a number or a date",
    ),
    ({"log__csv": "user,item,time\nu,a\n"}, r"log.csv, row 1: 'u,a' has 2 fields, not 3"),
    ({"log__csv": ""}, r"log.csv: the table is empty"),
]


@pytest.mark.parametrize(("files", "message"), FAULTS, ids=[fault[1][:20] for fault in FAULTS])
def test_what_cannot_be_guessed_names_what_was_seen(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    (data := tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=message):
        recipe_for(write(data, **files))
    assert not (tmp_path / "written.yaml").exists()


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    (tmp_path / "my.yaml").write_text("mine")
    with pytest.raises(InputError, match="my.yaml is there already"):
        init(str(tmp_path / "log.csv"), tmp_path / "my.yaml")
    assert (tmp_path / "my.yaml").read_text() == "mine"


def test_the_lines_for_an_llm_make_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    _, path = init(str(tmp_path / "log.csv"), tmp_path / "my.yaml")
    plain = re.sub(r"^variants:.*\n", "", path.read_text(), flags=re.MULTILINE)
    added = "\n".join(line.removeprefix("# ") for line in LLM.splitlines()[4:])
    recipe = Recipe.model_validate(yaml.safe_load(plain + added))
    assert recipe.augmented and set(recipe.strategies) == {"next_item"}


def test_the_command_says_what_it_guessed_and_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my log.csv").write_text(CSV)
    done = CliRunner().invoke(main, ["init", "my log.csv"])
    assert done.exit_code == 0, done.output
    assert "its values are numbers" in done.output and "longtail run my-log.yaml" in done.output
    assert load_recipe("my-log.yaml").dataset.path == "my log.csv"
    assert CliRunner().invoke(main, ["init", "my log.csv"]).exit_code == 2
