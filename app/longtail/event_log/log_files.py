"""The files of one folder of a log: their names, and reading a file into a table."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.json as pj

from longtail.errors import InputError
from longtail.workspace.place import Place

LONGEST_LINE = 1 << 24
_HOUR = r"\d{4}-\d\d-\d\dT\d\d"
_NAME = re.compile(rf"(?P<hour>{_HOUR})/(?P<begun>\d{{20}})-(?P<writer>[0-9a-f]{{8}})\.jsonl$")


def hour_of(time: int) -> str:
    """The hour, in UTC, of a time in ns since 1970: 2026-11-30T14."""
    return f"{datetime.fromtimestamp(time // 1_000_000_000, UTC):%Y-%m-%dT%H}"


def file_name(begun: int, writer: str) -> str:
    """begun: ns since 1970; so the names of a folder are in order of time."""
    return f"{begun:020d}-{writer}.jsonl"


@dataclass(frozen=True)
class LogFile:
    """One file of a log, and what its name says."""

    place: Place
    bytes: int
    hour: str
    begun: int
    writer: str


def log_files(folder: Place, since: str = "", before: str = "9") -> list[LogFile]:
    """The files of the hours from `since` on and before `before`, the oldest first; [] if there is no folder.

    since, before: the beginning of an hour's name, so a day is one too. Only folders of these hours are listed. What is no
    file of a log is left alone.
    """
    return sorted(
        (file for hour in log_hours(folder, since, before) for file in _files_of(hour)),
        key=lambda file: (file.begun, file.writer),
    )


def log_hours(folder: Place, since: str = "", before: str = "9") -> list[Place]:
    """The folders of the hours from `since` on and before `before`, the oldest first."""
    names = sorted(info.base_name for info in _within(folder) if not info.is_file)
    return [folder / name for name in names if re.fullmatch(_HOUR, name) and since <= name < before]


def _files_of(hour: Place) -> Iterator[LogFile]:
    for info in _within(hour):
        named = _NAME.search(info.path)
        if info.is_file and named:
            place = hour.at(info.path)
            yield LogFile(place, info.size, named["hour"], int(named["begun"]), named["writer"])


def _within(folder: Place) -> list[pafs.FileInfo]:
    return folder.fs.get_file_info(pafs.FileSelector(folder.path, allow_not_found=True))


def read_log_file(file: Place, schema: pa.Schema, size: int | None = None) -> pa.Table:
    """The whole lines in the first `size` bytes of a file as rows of `schema`; unknown keys are left out.

    The rest of a line that a killed process left at the end was never acknowledged, and is no row. Raises InputError for a
    line that is no JSON object or lacks a value.
    """
    written = file.read_bytes()[:size]
    whole = written[: written.rfind(b"\n") + 1]
    if not whole:
        return schema.empty_table()
    try:
        table = pj.read_json(
            io.BytesIO(whole),
            pj.ReadOptions(block_size=LONGEST_LINE),
            pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        ).select(schema.names)
    except pa.ArrowInvalid as error:
        raise _first_fault(file, whole, schema) or InputError(f"{file}: {error}. Mend the file.") from None
    if any(table[field.name].null_count for field in schema if not field.nullable):
        raise _first_fault(file, whole, schema)
    return table.cast(schema)


def _first_fault(file: Place, whole: bytes, schema: pa.Schema) -> InputError | None:
    """The first line that is no row of the schema."""
    for number, text in enumerate(whole.splitlines(), start=1):
        said = f"{file}, line {number}: {text[:80].decode(errors='replace')!r}"
        try:
            record = json.loads(text)
        except ValueError:
            return InputError(f"{said} is not JSON. Remove the line.")
        if not isinstance(record, dict):
            return InputError(f"{said} is not a JSON object. Remove the line.")
        for field in schema:
            value = record.get(field.name)
            if value is None and not field.nullable:
                return InputError(f"{said} has no {field.name}. Mend or remove the line.")
            try:
                pa.scalar(value, field.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                return InputError(f"{said}: {field.name} is no {field.type}. Mend or remove the line.")
    return None
