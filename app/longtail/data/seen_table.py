"""A raw table that nobody has described: how it is read, and which of its columns may be what."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.columns import NUMBER
from longtail.data.files import open_file, parts, plain_name, readable
from longtail.data.quotes import DELIMITERS
from longtail.data.source import Piece
from longtail.data.table_formats import format_of
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.workspace.place import Place

USUAL: dict[str, str] = {
    "user": "user userid uid customer customerid reviewerid visitorid memberid accountid clientid buyerid profileid"
    " personid username sessionid",
    "item": "item itemid iid parentasin productid movieid asin isbn bookid articleid sku trackid songid artistid poiid"
    " locationid venueid businessid gameid animeid courseid newsid appid recipeid stockcode product movie book song",
    "time": "timestamp time ts datetime date unixreviewtime eventtime createdat ratedat reviewtime reviewdate"
    " invoicedate visittime",
    "rating": "rating ratings score stars overall rate bookrating reviewscore",
    "title": "title name itemname itemtitle productname producttitle movietitle booktitle",
}
"""How columns are often called, in small letters without signs; of two in one table the earlier is taken."""
UNITS = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))
"""A unit, and the smallest and largest number that counts it since 1970 if the time is between 1973 and 5138."""
SUFFIX_OF = {
    "parquet": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "inter": "recbole",
    "item": "recbole",
    "txt": "sasrec",
}
"""The source that reads a file, by the end of its name."""


@dataclass(frozen=True)
class SeenTable:
    """A file or a folder of parts, how it is read, and which of its columns may be what."""

    place: Place
    dataset: Dataset
    names: list[str]
    columns: dict[str, str]

    @property
    def is_log(self) -> bool:
        return {"user", "item"} <= self.columns.keys()

    @property
    def is_catalogue(self) -> bool:
        return "item" in self.columns and not self.is_log

    @property
    def stem(self) -> str:
        return plain_name(self.place).rpartition(".")[0]


def source_of(entry: Place) -> str | None:
    return SUFFIX_OF.get(plain_name(entry).rpartition(".")[2])


def look_at(entry: Place) -> SeenTable:
    """The header of a table, with the delimiter and encoding that fit it."""
    source = source_of(entry)
    with readable(entry):
        is_file = entry.is_file()
    file = entry if is_file else next(iter(parts(entry, "csv" if source == "csv" else "parquet")), None)
    if file is None:
        return SeenTable(entry, Dataset(source=source), [], {})
    fault: InputError | None = None
    for encoding in _encodings(file) if source != "parquet" else ("utf-8",):
        try:
            dataset, names = _with_delimiter(file, source, encoding)
            next(iter(format_of(dataset).parts(Piece(file, 0), list(dict.fromkeys(names)))), None)
            return SeenTable(entry, dataset, names, roles_of(names))
        except InputError as error:
            fault = fault or error
    raise fault


def _with_delimiter(file: Place, source: str, encoding: str) -> tuple[Dataset, list[str]]:
    """How a table is read, and its columns: the delimiter is the one that parts the header into most of them."""
    marks = [",", *(mark for mark in DELIMITERS if mark != ",")] if source == "csv" else [","]
    read, fault = [], None
    for mark in marks:
        dataset = Dataset(source=source, encoding=encoding, delimiter=mark)
        try:
            read.append((dataset, format_of(dataset).names(file)))
        except InputError as error:
            fault = fault or error
    if not read:
        raise fault
    return max(read, key=lambda one: len(one[1]))


def _encodings(file: Place) -> tuple[str, ...]:
    return ("utf-16",) if beginning(file)[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")


def beginning(file: Place) -> bytes:
    with readable(file), open_file(file) as stream:
        return stream.read(4096)


def roles_of(names: list[str]) -> dict[str, str]:
    """The column of each key of USUAL that a table seems to have."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    found = {key: _first(plain, usual.split()) for key, usual in USUAL.items()}
    return {key: name for key, name in found.items() if name is not None}


def _first(plain: dict[str, str], usual: Iterable[str]) -> str | None:
    return next((plain[word] for word in usual if word in plain), None)


def time_unit_of(log: SeenTable, time: str) -> tuple[str | None, str]:
    """What the times count, None for dates and for numbers that only order; and the reason."""
    column = _sample(log, time)
    if pa.types.is_string(column.type):
        numbers = pc.match_substring_regex(column, NUMBER)
        if not column.null_count < len(column) or not pc.all(numbers).as_py():
            return None, "its values are dates"
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None, "its values are dates"
    values = np.abs(column.drop_null().to_numpy().astype(np.float64))
    typical = float(np.median(values)) if len(values) else 0.0
    unit = next((name for name, low, high in UNITS if low <= typical < high), None)
    if unit is None:
        return None, f"its values are numbers such as {typical:g}, which only order a user's interactions"
    return unit, f"its values are numbers that count {unit} since 1970, such as {typical:.0f}"


def _sample(table: SeenTable, column: str) -> pa.ChunkedArray:
    """The first values of a column."""
    form, place = format_of(table.dataset), table.place
    suffix = "csv" if table.dataset.source == "csv" else table.dataset.source
    files = [place] if place.is_file() else parts(place, suffix)
    first = next(iter(form.parts(form.pieces(files, None)[0], [column])), None)
    return pa.chunked_array([[]], pa.string()) if first is None else first[column].slice(0, 10_000)
