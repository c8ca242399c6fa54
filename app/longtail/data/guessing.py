"""What a file or folder of raw data seems to be: a first `dataset` section of a recipe, with the reason of each value."""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from longtail.data.files import listing, plain_name, readable
from longtail.data.seen_table import SeenTable, beginning, look_at, source_of, time_unit_of
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.workspace.place import Place

ATTRIBUTES = "genres genre category categories maincategory brand author authors artist publisher store tags"
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
    tables = [look_at(entry) for entry in entries if source_of(entry) in ("parquet", "csv", "recbole")]
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
    files = [entry for entry in entries if source_of(entry) == "sasrec"]
    if len(files) != 1 or any(source_of(entry) in ("parquet", "csv", "recbole") for entry in entries):
        return None
    first = beginning(files[0]).decode("latin-1").lstrip("\ufeff").splitlines()[:20]
    if not first or any(not re.fullmatch(r"\s*\d+\s+\d+\s*", line) for line in first if line.strip()):
        return None
    why = "each line is two whole numbers, `user item`, as SASRec's authors publish them; a user's lines stand in time"
    return Guess(
        {"source": "sasrec", "path": path, "split": "leave-one-out"},
        {"source": why, "split": SPLIT_WORDS["leave-one-out"]},
    )


def _from_tables(path: str, place: Place, tables: list[SeenTable]) -> Guess:
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


def _of_log(path: str, place: Place, log: SeenTable, as_parts: bool) -> tuple[dict[str, Any], dict[str, str]]:
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
        unit, why = time_unit_of(log, time)
        reasons["columns.time"] = why
        if unit:
            values["time_unit"], reasons["time_unit"] = unit, "by the size of the numbers"
    if "rating" in log.columns:
        values["columns.rating"] = log.columns["rating"]
        reasons["columns.rating"] = "by its name; every rating counts, set min_rating to drop low ones"
    return values, reasons


def _add_catalogue(
    values: dict[str, Any], reasons: dict[str, str], log: SeenTable, catalogues: list[SeenTable]
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


def _unrecognised(path: str, place: Place, tables: list[SeenTable]) -> str:
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
