"""Quotes in a CSV: what Python's csv module takes is read as it reads it, and nothing is swallowed in silence."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longtail.data import delimited, quotes
from longtail.data.quotes import Dialect
from longtail.errors import InputError
from longtail.workspace.place import Place
from tests.data.test_source_kinds import source, write

HEAD = "user_id,item_id,timestamp,note\n"
SWALLOWED = [
    ("open till the end", 'u1,a,1,ok\nu1,b,2,"great\nu1,c,3,x\nu2,a,1,x\n', 3, "is not closed"),
    ("the last value", 'u1,a,1,"', 2, "is not closed"),
    (
        "a second one opens",
        'u1,a,1,"great\nu1,b,2,x\nu2,a,1,"nice\nu2,b,2,x\n',
        2,
        "line 4, but there it goes on",
    ),
    ("a proper one follows", 'u1,a,1,"great\nu1,b,2,"well, yes"\nu2,b,2,x\n', 2, "goes on with 'wel"),
    (
        "closed by a stray one",
        'u1,a,1,ok\nu1,b,2,"great\nu1,c,3,x\nu2,a,1,nice"\nu2,b,2,x\n',
        3,
        "row by itself",
    ),
    ("inches", 'u1,a,1,"great\nu2,a,2020-01-01,5"\nu2,b,2,x\n', 2, "row by itself"),
    ("text after the quote", 'u1,a,1,"Big" TV\n', 2, "goes on with ' TV'"),
    ("in the first column", '"u1,a,1,x\nu1,b,2,x\n', 2, "is not closed"),
    ("lines of Windows", 'u1,a,1,ok\r\nu1,b,2,"great\r\nu1,c,3,x\r\n', 3, "is not closed"),
    ("after values of two lines", 'u1,a,1,"a\nb"\nu1,b,2,"great\nu1,c,3,x\n', 4, "is not closed"),
    ("no times, three lines", 'u1,a,x,"great\nu1,c,x,x\nu2,a,x,nice"\n', 2, "row by itself"),
]


def read(
    folder: Path, name: str = "interactions.csv", dialect: Dialect | None = None
) -> list[list[str | None]]:
    """All rows of a file, header first."""
    file, dialect = Place.named(str(folder / name), "test"), dialect or Dialect()
    columns = delimited.names(file, dialect)
    numbered = [
        table.rename_columns([f"{n}" for n in range(len(columns))])
        for table in _tables(file, columns, dialect)
    ]
    rows = [list(row.values()) for table in numbered for row in table.to_pylist()]
    return [columns, *rows]


def _tables(file: Place, columns: list[str], dialect: Dialect) -> list[pa.Table]:
    return list(delimited.parts(file, columns, dialect))


@pytest.mark.parametrize(
    ("rows", "line", "what"), [case[1:] for case in SWALLOWED], ids=[case[0] for case in SWALLOWED]
)
@pytest.mark.parametrize("block", [7, 1 << 23])
def test_a_quote_that_swallows_rows_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, line: int, what: str, block: int
) -> None:
    monkeypatch.setattr(quotes, "BLOCK", block)
    write(tmp_path, interactions__csv=HEAD + rows)
    with pytest.raises(InputError, match=f"interactions.csv, line {line}: a quote opens the value.*{what}"):
        opened = source(tmp_path)
        [list(opened.read(piece)) for piece in opened.pieces]


def test_a_catalogue_is_not_swallowed_either(tmp_path: Path) -> None:
    write(tmp_path, interactions__csv=HEAD + "u,a,1,x\n", items__csv='item_id,title\na,"Foo\nb,Bar\nc,Baz\n')
    with pytest.raises(
        InputError, match=r"items.csv, line 2: a quote opens the value \"Foo, which is not closed"
    ):
        source(tmp_path).catalogue()


def test_lines_in_a_value_are_no_rows(tmp_path: Path) -> None:
    notes = [
        "Hello,\nthanks, it works, really",
        "one\ntwo\n\nthree",
        'she said ""yes""\nand left',
        "a, b, c, 3\nd",
    ]
    rows = "".join(f'u1,{n},{n},"{note}"\n' for n, note in enumerate(notes))
    write(tmp_path, interactions__csv=HEAD + rows)
    assert [row[3] for row in read(tmp_path)[1:]] == [note.replace('""', '"') for note in notes]


def test_a_value_without_an_end_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotes, "BLOCK", 100)
    monkeypatch.setattr(quotes, "LONGEST", 50)
    write(tmp_path, interactions__csv=HEAD + 'u,a,1,"x\n' + "u,a,1,y\n" * 999)
    with pytest.raises(InputError, match='line 2: a quote opens the value "x, which is not closed'):
        read(tmp_path)
    write(tmp_path, interactions__csv=HEAD + 'u,a,1,"' + "x" * 60 + '"\n' + "u,a,1,y\n" * 9)
    with pytest.raises(InputError, match="line 2: a quote opens .* is longer than"):
        read(tmp_path)
    write(tmp_path, interactions__csv=HEAD + "u,a,1,x\n" + "x" * 999)
    with pytest.raises(InputError, match="line 3: longer than"):
        read(tmp_path)


SIGNS = ["a", '"', '""', "\n", ", ", "é", "\r\n", " ", "\\"]
VALUES = st.lists(st.sampled_from(SIGNS), max_size=6).map("".join)


@given(
    st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=6)
    ),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([None, "\\"]),
    st.integers(1, 40),
)
def test_what_csv_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    quoting: int,
    delimiter: str,
    end: str,
    escape: str | None,
    block: int,
) -> None:
    """Any values, quotes and lines in them too, with a blank after every comma, so that no line is a row by itself."""
    folder, text = tmp_path_factory.mktemp("csv"), io.StringIO()
    header = [f"c{number}" for number in range(len(table[0]))]
    writer = csv.writer(
        text,
        quoting=quoting,
        delimiter=delimiter,
        lineterminator=end,
        escapechar=escape,
        doublequote=escape is None,
    )
    writer.writerows([header, *table])
    (folder / "interactions.csv").write_bytes(text.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotes, "BLOCK", block)
        found = read(folder, dialect=Dialect(delimiter=delimiter, escape=escape))
    assert found == [header, *([value or None for value in row] for row in table)]


@given(
    st.lists(st.sampled_from(["a", "b", " ", '"', '"', ",", "\n"]), max_size=24).map("".join),
    st.integers(1, 30),
)
@example('"a"b\n', 3)
@example('a,""\n"","', 4)
def test_what_csv_refuses_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str, block: int) -> None:
    """The strict reader of Python's csv module as a twin; but for rows of another width, which have their own words."""
    folder = tmp_path_factory.mktemp("csv")
    (folder / "interactions.csv").write_bytes(b"x,y\n" + text.encode())
    try:
        rows: list[list[str]] | None = [
            row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row
        ]
    except csv.Error:
        rows = None
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quotes, "BLOCK", block)
            found: list[list[str | None]] | None = read(folder)[1:]
    except InputError as error:
        if "fields, not 2" in str(error):
            assert rows is None or any(len(row) != 2 for row in rows)
            return
        if "row by itself" in str(error):
            return
        found = None
    expected = rows and [[value or None for value in row] for row in rows]
    assert (found or None) == (expected or None) and (found is None) == (rows is None)


@pytest.mark.parametrize(
    ("text", "settings", "values"),
    [
        ('u,a\n1,"\\"x, y\\""\n', {"escape": "\\"}, ["1", '"x, y"']),
        ('u,a\n1,"x\n', {"quote": None}, ["1", '"x']),
        ("u,a\n1,'x, y'\n", {"quote": "'"}, ["1", "x, y"]),
        ("u|a\n1|x\n", {"delimiter": "|"}, ["1", "x"]),
        ("u\ta\n1\tx\n", {"delimiter": "tab"}, ["1", "x"]),
        ("u,a\n1,é\n".encode("latin-1"), {"encoding": "latin-1"}, ["1", "é"]),
        ("u,a\n1,€\n".encode("cp1252"), {"encoding": "cp1252"}, ["1", "€"]),
        ("u,a\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}, ["1", "é"]),
        ("u,a\n1,é\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, ["1", "é"]),
        ("\ufeffu,a\n1,é\n", {}, ["1", "é"]),
        ("u,a\r1,é\r", {}, ["1", "é"]),
        ("\n\nu,a\n\n1,é", {}, ["1", "é"]),
    ],
)
def test_a_csv_of_another_kind_is_read_by_its_settings(
    tmp_path: Path, text: str | bytes, settings: dict[str, str | None], values: list[str]
) -> None:
    write(tmp_path, interactions__csv=text)
    opened = source(tmp_path, columns={"user": "u", "item": "a", "time": None}, **settings)
    (table,) = [table for piece in opened.pieces for table in opened.read(piece)]
    assert [table["user_id"][0].as_py(), table["item_id"][0].as_py()] == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u;a\n1;x\n", r"separated by ';': set dataset.delimiter"),
        ('"u";"a"\n"1";"x"\n', r"set dataset.delimiter"),
        ("u\ta\n1\tx\n", r"separated by '\\t': set dataset.delimiter"),
        ("u,a\n1,é\n".encode("utf-16"), r"seems to be UTF-16, not UTF-8. Set dataset.encoding to utf-16,"),
        (
            "u,a\n1,é\n".encode("utf-16-be"),
            r"seems to be UTF-16, not UTF-8. Set dataset.encoding to utf-16-be",
        ),
        (
            "u,a\n1,é\n".encode("latin-1"),
            r"line 2: b'1,\\xe9'.*seems to be Latin-1: set dataset.encoding to latin-1",
        ),
        ("u,a\n1,€\n".encode("cp1252"), r"seems to be Windows-1252: set dataset.encoding to cp1252"),
        ("u,a\n1,日本\n".encode("shift-jis"), r"Set dataset.encoding to the file's encoding"),
        ("u,a,né\n1,x,y\n".encode("latin-1"), r"line 1: the name of column 3, b'n\\xe9'.*latin-1"),
        (b"PAR1....", r"is Parquet. Set dataset.source to parquet"),
        (b"\x1f\x8b\x08\x00", r"is gzipped. Give it a name that ends in .gz"),
        ("u,a,u\n1,x,y\n", r"2 columns are called 'u'"),
    ],
)
def test_a_csv_of_another_kind_names_the_setting(tmp_path: Path, text: str | bytes, message: str) -> None:
    write(tmp_path, interactions__csv=text)
    with pytest.raises(InputError, match=message):
        opened = source(tmp_path, columns={"user": "u", "item": "a", "time": None})
        [list(opened.read(piece)) for piece in opened.pieces]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"delimiter": "::"}, "one ASCII character"),
        ({"delimiter": '"'}, "different characters"),
        ({"encoding": "utf-99"}, "not the name of a text encoding"),
        ({"encoding": "base64"}, "not the name of a text encoding"),
        (
            {"source": "parquet", "encoding": "latin-1"},
            "dataset.encoding = 'latin-1' is only read by the source csv",
        ),
    ],
)
def test_a_setting_without_a_meaning_is_refused(
    tmp_path: Path, setting: dict[str, str], message: str
) -> None:
    with pytest.raises((InputError, ValueError), match=message):
        source(tmp_path, **{"kind": setting.pop("source", "csv")} | setting)
