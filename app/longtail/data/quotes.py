"""Cuts a CSV into blocks of whole rows. A quote that takes in rows is an error, with the line in which it opens.

For Arrow a value that begins with a quote goes on to the next single quote or, without one, to the end of the file. So one
quote too many removes rows without an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longtail.errors import InputError
from longtail.workspace.place import Place

BLOCK = 1 << 23
"""Bytes that are read, checked and parsed in one step."""
LONGEST = 1 << 22
"""More bytes than this are not a row: a quote is not closed, or the file is not a CSV."""

DELIMITERS = ";\t|,"
"""The most frequent delimiters."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_ROW = re.compile(rb"[^\r\n]+(\r\n|\r|\n)")
_NUMBER = re.compile(rb"[-+]?\d[-+.:/TZ \d]*$")
"""Numbers and times."""


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written; all except `encoding` are one ASCII character or null."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"


def whole_rows(file: Place, chunks: Iterator[bytes], dialect: Dialect) -> Iterator[tuple[int, bytes]]:
    """The header, then blocks of whole rows, each with the number of its first line, from 1.

    Raises InputError for a quote that is not closed, that has text after its end, or that takes in whole rows.
    """
    rest, line, width = b"", 1, -1
    for chunk, is_last in _with_last(chunks):
        data = rest + chunk
        if width < 0:
            end, delimiters = _whole(file, line, data, dialect, -1, is_last)
            if not end or not data[:end].strip(b"\r\n"):
                rest = data
                continue
            yield line, data[:end]
            line, width, data = line + _breaks(data[:end]), delimiters, data[end:]
        end, _ = _whole(file, line, data, dialect, width, is_last)
        if end:
            yield line, data[:end]
        line, rest = line + _breaks(data[:end]), data[end:]


def _with_last(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each chunk, and whether it is the last. Without chunks there is one empty chunk."""
    before = next(chunks, b"")
    for chunk in chunks:
        yield before, False
        before = chunk
    yield before, True


def _whole(
    file: Place, line: int, data: bytes, dialect: Dialect, width: int, is_last: bool
) -> tuple[int, int]:
    """The position after the last whole row (the first if `width` is -1), and the number of its delimiters.

    Raises InputError for the first fault; `line` is the number of the first line of `data`.
    """
    opened = -1
    if not dialect.escape and not (dialect.quote and dialect.quote.encode() in data):
        end = _end_without_quotes(data, width < 0, is_last)
        delimiters = data.count(dialect.delimiter.encode(), 0, end) if width < 0 else width
    else:
        from longtail.data.csv_states import (
            FINE,
            GOES_ON,
            walk,
        )  # it compiles first; most files do not need it

        marks = [ord(mark) if mark else -1 for mark in (dialect.delimiter, dialect.quote, dialect.escape)]
        octets = np.frombuffer(data, np.uint8)
        end, delimiters, opened, fault, place, values = walk(octets, *marks, width, LONGEST, is_last)
        if fault == GOES_ON:
            _check_delimiter(file, line, data, place, dialect)
            where = f"ends in line {line + _breaks(data[:place])}, but there it goes on with {_text(data, place)!r}"
            raise _fault(file, line, data, opened, where, dialect)
        if fault != FINE:
            raise _fault(file, line, data, opened, f"is longer than {LONGEST >> 20} MiB", dialect)
        for begins, closes, stops in values:
            if width > 0 and _are_rows(data, begins, closes, stops, dialect.delimiter.encode()):
                where = (
                    f"ends in line {line + _breaks(data[:closes])}, and every line in it is a row by itself"
                )
                raise _fault(file, line, data, begins, where, dialect)
    if width < 0 and end:
        return end, delimiters
    if opened >= 0 and (is_last or len(data) - opened > LONGEST):
        raise _fault(file, line, data, opened, "is not closed", dialect)
    if len(data) - end > LONGEST:
        line += _breaks(data[:end])
        raise InputError(
            f"{file}, line {line}: longer than {LONGEST >> 20} MiB. Give a CSV with one row a line."
        )
    return end, delimiters


def _end_without_quotes(data: bytes, is_header: bool, is_last: bool) -> int:
    """The end of the last row, or of the first that is not empty if `is_header`; 0 if no row ends."""
    if is_header and (row := _ROW.search(data)) and (is_last or row.end() < len(data) or data[-1:] == b"\n"):
        return row.end()
    if is_last:
        return len(data)
    return 0 if is_header else max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1


def _breaks(data: bytes) -> int:
    """How many lines end in `data`."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _text(data: bytes, place: int) -> str:
    """The text at a position, for a message."""
    return _LINE_END.split(data[place : place + 40], maxsplit=1)[0].decode(errors="replace")


def _fault(file: Place, line: int, data: bytes, opened: int, what: str, dialect: Dialect) -> InputError:
    return InputError(
        f"{file}, line {line + _breaks(data[:opened])}: a quote opens the value {_text(data, opened)}, which {what}. "
        f"Write a quote inside a value twice ({2 * dialect.quote}); or set dataset.escape if the file has another sign "
        "before it, or dataset.quote to null if quotes mean nothing."
    )


def _check_delimiter(file: Place, line: int, data: bytes, place: int, dialect: Dialect) -> None:
    """Raise InputError if the text after a closing quote seems to be the delimiter of the file."""
    mark = chr(data[place])
    if mark in DELIMITERS and mark != dialect.delimiter:
        raise InputError(
            f"{file}, line {line + _breaks(data[:place])}: {_text(data, place)!r} comes after a closing quote. The "
            f"values seem to be separated by {mark!r}: set dataset.delimiter to it."
        )


def _are_rows(data: bytes, begins: int, closes: int, stops: int, delimiter: bytes) -> bool:
    """Whether a value took in rows: each of its lines has the delimiters of a row and looks like one.

    Two quotes too many make such a value. It is only sure if every line has a number in each column in which the row has
    one. If the row has none, there must be three lines, and no blank after a delimiter. The last line goes on from `closes`
    to `stops`.
    """
    start = max(data.rfind(b"\n", 0, begins), data.rfind(b"\r", 0, begins)) + 1
    last = max(data.rfind(b"\n", 0, closes), data.rfind(b"\r", 0, closes)) + 1
    lines = [line.split(delimiter) for line in _LINE_END.split(data[start:stops])]
    before, after = range(data.count(delimiter, start, begins)), data.count(delimiter, last, closes) + 1
    numbers = {column for column in before if _NUMBER.match(lines[0][column])}
    numbers |= {column for column in range(after, len(lines[-1])) if _NUMBER.match(lines[-1][column])}
    if any(not _NUMBER.match(fields[column]) for fields in lines for column in numbers):
        return False
    has_blanks = any(field.startswith(b" ") for fields in lines[1:] for field in fields)
    return bool(numbers) or (len(lines) > 2 and not has_blanks)
