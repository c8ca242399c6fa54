"""What a file or folder of raw data seems to be: a first `dataset` section of a recipe, with the reason of each value."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from longtail.data.columns import NUMBER
from longtail.data.files import listing, open_file, parts, plain_name, readable
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
ATTRIBUTES = "genres genre category categories maincategory brand author authors artist publisher store tags"
UNITS = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))
"""Numbers from .. to count such a unit since 1970, if they tell a time between 1973 and 5138."""
SUFFIX_OF = {
    "parquet": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "inter": "recbole",
    "item": "recbole",
    "txt": "sasrec",
}
"""The source that reads a file, by the end of its name."""
SPLIT_WORDS = {
    "leave-one-out": "the last item of each user is the test, the one before it is for validation",
    "published": "there is a train and a test file",
}


@dataclass(frozen=True)
class Guess:
    """Settings of `dataset` by their dotted key, each with why; all other settings stay at their defaults."""

    values: dict[str, Any]
    reasons: dict[str, str]

    @property
    def dataset(self) -> Dataset:
        section: dict[str, Any] = {}
        for key, value in self.values.items():
            *parents, last = key.split(".")
            inner = section
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
        return Dataset.model_validate(section)


@dataclass(frozen=True)
class _Table:
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


def guess_dataset(path: str) -> Guess:
    """Look at a file or folder; `path` may be a URI too.

    Raises InputError if there is nothing, if no table of interactions is recognised, or if several are: it names what was
    seen, and what to write.
    """
    place = Place.named(path, "DATA")
    with readable(place):
        kind = place.fs.get_file_info(place.path).type
    if kind not in (pafs.FileType.File, pafs.FileType.Directory):
        raise InputError(f"{path}: there is no such file or folder. Give that of your interactions.")
    entries = [place] if kind == pafs.FileType.File else _entries(place)
    for look in (_movielens, _lightgcn, _sasrec):
        if found := look(path, place, entries):
            return found
    tables = [_read(entry) for entry in entries if _source_of(entry) in ("parquet", "csv", "recbole")]
    return _from_tables(path, place, tables)


def _entries(folder: Place) -> list[Place]:
    """What lies in a folder, hidden files left out, and in its sub folder `original`, where benchmarks keep theirs."""
    with readable(folder):
        found = [
            folder.at(info.path)
            for at in (folder, folder / "original")
            for info in folder.fs.get_file_info(pafs.FileSelector(at.path, allow_not_found=True))
        ]
    return sorted((one for one in found if one.name[0] not in "._"), key=lambda one: one.path)


def _source_of(entry: Place) -> str | None:
    return SUFFIX_OF.get(plain_name(entry).rpartition(".")[2])


def _movielens(path: str, place: Place, entries: list[Place]) -> Guess | None:
    names = {plain_name(entry) for entry in entries}
    for log, catalogue in (("u.data", "u.item"), ("ratings.dat", "movies.dat")):
        if log in names:
            why = f"{log} and {catalogue} are MovieLens files"
            return Guess(
                {"source": "movielens", "path": path, "split": "leave-one-out"},
                {"source": why, "split": SPLIT_WORDS["leave-one-out"]},
            )
    return None


def _lightgcn(path: str, place: Place, entries: list[Place]) -> Guess | None:
    if not {"train.txt", "test.txt"} <= {plain_name(entry) for entry in entries}:
        return None
    why = (
        "train.txt and test.txt, a line `user item item …` for each user, as LightGCN's authors publish them"
    )
    return Guess(
        {"source": "lightgcn", "path": path, "split": "published"},
        {"source": why, "split": SPLIT_WORDS["published"]},
    )


def _sasrec(path: str, place: Place, entries: list[Place]) -> Guess | None:
    files = [entry for entry in entries if _source_of(entry) == "sasrec"]
    if len(files) != 1 or any(_source_of(entry) in ("parquet", "csv", "recbole") for entry in entries):
        return None
    first = _beginning(files[0]).decode("latin-1").lstrip("\ufeff").splitlines()[:20]
    if not first or any(not re.fullmatch(r"\s*\d+\s+\d+\s*", line) for line in first if line.strip()):
        return None
    why = "each line is two whole numbers, `user item`, as SASRec's authors publish them; a user's lines stand in time"
    return Guess(
        {"source": "sasrec", "path": path, "split": "leave-one-out"},
        {"source": why, "split": SPLIT_WORDS["leave-one-out"]},
    )


def _read(entry: Place) -> _Table:
    """The header of a table, with the delimiter and encoding that fit it."""
    source = _source_of(entry)
    with readable(entry):
        is_file = entry.is_file()
    file = entry if is_file else next(iter(parts(entry, "csv" if source == "csv" else "parquet")), None)
    if file is None:
        return _Table(entry, Dataset(source=source), [], {})
    fault: InputError | None = None
    for encoding in _encodings(file) if source != "parquet" else ("utf-8",):
        try:
            dataset, names = _with_delimiter(file, source, encoding)
            next(iter(format_of(dataset).parts(Piece(file, 0), list(dict.fromkeys(names)))), None)
            return _Table(entry, dataset, names, _roles(names))
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
    return ("utf-16",) if _beginning(file)[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")


def _beginning(file: Place) -> bytes:
    with readable(file), open_file(file) as stream:
        return stream.read(4096)


def _roles(names: list[str]) -> dict[str, str]:
    """The column of each key of USUAL that a table seems to have."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    found = {key: _first(plain, usual.split()) for key, usual in USUAL.items()}
    return {key: name for key, name in found.items() if name is not None}


def _first(plain: dict[str, str], usual: Iterable[str]) -> str | None:
    return next((plain[word] for word in usual if word in plain), None)


def _from_tables(path: str, place: Place, tables: list[_Table]) -> Guess:
    logs = [table for table in tables if table.is_log]
    if not logs:
        raise InputError(_unrecognised(path, place, tables))
    by_stem = {table.stem: table for table in logs}
    test = by_stem.get("test") if "train" in by_stem and "interactions" not in by_stem else None
    if test is not None:
        log = by_stem["train"]
    elif len({tuple(table.names) for table in logs}) == 1 and all(
        stem.startswith("part") for stem in by_stem
    ):
        log = logs[0]
    elif "interactions" in by_stem or len(logs) == 1:
        log = by_stem.get("interactions", logs[0])
    else:
        names = ", ".join(table.place.name for table in logs)
        raise InputError(f"{path}: {names} all have users and items. Give the path of the one to read.")
    as_parts = log.stem.startswith("part") and len(logs) > 1
    values, reasons = _of_log(path, place, log, as_parts)
    if test is not None:
        values |= {"interactions": log.place.name, "test": test.place.name, "split": "published"}
        reasons["split"] = SPLIT_WORDS["published"]
        values.pop("time_unit", None)
    else:
        values["split"], reasons["split"] = "leave-one-out", SPLIT_WORDS["leave-one-out"]
    _add_catalogue(values, reasons, log, [table for table in tables if table.is_catalogue])
    return Guess(values, reasons)


def _of_log(path: str, place: Place, log: _Table, as_parts: bool) -> tuple[dict[str, Any], dict[str, str]]:
    dataset, name = log.dataset, log.place.name
    values: dict[str, Any] = {"source": dataset.source, "path": path}
    reasons = {"source": f"{'all parts' if as_parts else name} with the columns {', '.join(log.names)}"}
    if as_parts:
        values["interactions"] = "."
    elif place.path != log.place.path and plain_name(log.place) != f"interactions.{dataset.source}":
        values["interactions"] = log.place.path.removeprefix(place.path).strip("/")
    defaults = Dataset.model_fields
    for key in ("delimiter", "encoding"):
        if getattr(dataset, key) != defaults[key].default:
            values[key] = getattr(dataset, key)
            reasons[key] = (
                "the file is read so" if key == "encoding" else "it parts the header into most columns"
            )
    for key in ("user", "item"):
        values[f"columns.{key}"] = log.columns[key]
        reasons[f"columns.{key}"] = "by its name"
    time = log.columns.get("time")
    values["columns.time"] = time
    reasons["columns.time"] = "by its name"
    if time is None:
        reasons["columns.time"] = (
            "no column looks like a time: a user's rows are taken to stand in the order of time"
        )
    else:
        unit, why = _unit(log, time)
        reasons["columns.time"] = why
        if unit:
            values["time_unit"], reasons["time_unit"] = unit, "by the size of the numbers"
    if "rating" in log.columns:
        values["columns.rating"] = log.columns["rating"]
        reasons["columns.rating"] = "by its name; every rating counts, set min_rating to drop low ones"
    return values, reasons


def _unit(log: _Table, time: str) -> tuple[str | None, str]:
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


def _sample(table: _Table, column: str) -> pa.ChunkedArray:
    """The first values of a column."""
    form, place = format_of(table.dataset), table.place
    suffix = "csv" if table.dataset.source == "csv" else table.dataset.source
    files = [place] if place.is_file() else parts(place, suffix)
    read: Callable[[Piece, list[str]], Any] = form.parts
    first = next(iter(read(form.pieces(files, None)[0], [column])), None)
    return pa.chunked_array([[]], pa.string()) if first is None else first[column].slice(0, 10_000)


def _add_catalogue(
    values: dict[str, Any], reasons: dict[str, str], log: _Table, catalogues: list[_Table]
) -> None:
    """The catalogue whose items are called as the log calls them; without any, items have no titles."""
    same = [
        table
        for table in catalogues
        if table.columns["item"] == log.columns["item"] and _alike(table.dataset, log.dataset)
    ]
    if not same:
        values["columns.title"] = None
        reasons["columns.title"] = "no catalogue was found beside the log: items have no titles"
        return
    table = max(
        same, key=lambda one: (one.stem in ("items", log.stem), "title" in one.columns, len(one.names))
    )
    if table.dataset.source != "recbole" and plain_name(table.place) != f"items.{table.dataset.source}":
        values["items"] = table.place.name
        reasons["items"] = f"it lists the items, with the columns {', '.join(table.names)}"
    title = table.columns.get("title")
    values["columns.title"] = title
    reasons["columns.title"] = (
        f"by its name, in {table.place.name}" if title else "no column looks like a title"
    )
    plain = [name for name in table.names if re.sub(r"[^a-z0-9]", "", name.lower()) in ATTRIBUTES.split()]
    if plain:
        values["columns.attributes"] = plain
        reasons["columns.attributes"] = f"by their names, in {table.place.name}"


def _alike(one: Dataset, other: Dataset) -> bool:
    """Whether one recipe reads both."""
    return all(getattr(one, key) == getattr(other, key) for key in ("source", "delimiter", "encoding"))


def _unrecognised(path: str, place: Place, tables: list[_Table]) -> str:
    """What was seen, and what to write."""
    if not tables:
        there = f"In {path}: {listing(place)}. " if not place.is_file() else ""
        return (
            f"{path}: no table of interactions was recognised. {there}Give a .csv, .tsv, .parquet or .inter file, or a"
            " folder with one; or write a recipe that names dataset.source."
        )
    seen = "; ".join(f"{table.place.name} has {', '.join(table.names) or 'no columns'}" for table in tables)
    return (
        f"{path}: no column is called as users or items usually are: {seen}. Name the columns user_id and item_id in the"
        " first line, or write a recipe with dataset.columns: {user: …, item: …}."
    )
