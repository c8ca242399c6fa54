"""Reads CSV and RecBole's atomic files: the names of the columns, and the rows in batches with all columns as text."""

import codecs
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pacsv

from longtail.data import quotes
from longtail.data.files import open_file, readable
from longtail.data.quotes import Dialect, whole_rows
from longtail.errors import InputError
from longtail.workspace.place import Place

_HEADER = 1 << 16
_BOM = codecs.BOM_UTF8
_SIGNS = {
    b"PAR1": "is Parquet. Set dataset.source to parquet",
    b"\x1f\x8b": "is gzipped. Give it a name that ends in .gz",
    b"\x28\xb5\x2f\xfd": "is packed by zstd. Give it a name that ends in .zst",
    b"PK\x03\x04": "is a ZIP archive, like the files of Excel. Give a CSV",
}
"""The first bytes of files that are not text."""
_WRONG_ROW = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def names(file: Place, dialect: Dialect) -> list[str]:
    """The names in the header. Raises InputError for an empty file and for one that is not text of this dialect."""
    with readable(file, "csv"):
        for line, header in whole_rows(file, _texts(file, dialect.encoding, _HEADER), dialect):
            return _names(file, line, header, dialect)
    raise InputError(f"{file}: the table is empty. Give one with a header and rows.")


def parts(
    file: Place, used: list[str], dialect: Dialect, written: dict[str, str] | None = None
) -> Iterator[pa.Table]:
    """The columns `used` in batches of text. `written` has the names in the file, if they are different.

    All values are text, so that an id like 007 keeps its zeros and an error can quote a value. Empty values are null.
    Raises InputError for the first row with too many or too few values, and for bytes that the encoding does not have.
    """
    blocks = whole_rows(file, _texts(file, dialect.encoding, quotes.BLOCK), dialect)
    with readable(file, "csv"):
        first = next(blocks, None)
        if first is None:
            return
        header = _names(file, *first, dialect)
        places = [header.index((written or {}).get(name, name)) for name in used]
        done = 0
        for line, block in blocks:
            if not block.strip(b"\r\n"):
                continue
            try:
                table = _parse(block, dialect, len(header), places, pa.string())
            except pa.ArrowInvalid as error:
                raise _fault(file, line, block, done, str(error)) from None
            done += table.num_rows
            yield table.rename_columns(used)


def hint(found: list[str], dialect: Dialect) -> str:
    """A sentence about the delimiter that the header seems to have, or an empty text."""
    others = [
        mark
        for mark in quotes.DELIMITERS
        if mark != dialect.delimiter and any(mark in name for name in found)
    ]
    if len(found) > 2 or not others:
        return ""
    return f"They seem to be separated by {others[0]!r}: set dataset.delimiter to it. "


def atomic_names(file: Place, encoding: str) -> dict[str, str]:
    """RecBole's header, such as `user_id:token`: the name of each column, and its full text in the file."""
    columns = {}
    for written in names(file, _tabs(encoding)):
        name, colon, kind = written.rpartition(":")
        if not colon or kind not in ("token", "token_seq", "float", "float_seq"):
            raise InputError(
                f"{file}: column '{written}' has no type. Write name:type, with the type token, token_seq, float or "
                "float_seq."
            )
        columns[name] = written
    return columns


def atomic_parts(file: Place, used: list[str], encoding: str) -> Iterator[pa.Table]:
    yield from parts(file, used, _tabs(encoding), atomic_names(file, encoding))


def _tabs(encoding: str) -> Dialect:
    return Dialect(delimiter="\t", quote=None, encoding=encoding)


def _texts(file: Place, encoding: str, size: int) -> Iterator[bytes]:
    """The file as UTF-8, without a byte order mark. Raises InputError for a file that is not text in `encoding`."""
    decoder = None if codecs.lookup(encoding).name == "utf-8" else codecs.getincrementaldecoder(encoding)()
    is_first = True
    with open_file(file) as stream:
        while raw := stream.read(size):
            if is_first:
                _check_start(file, raw, encoding)
            text = raw if decoder is None else _decoded(file, decoder, raw)
            yield text.removeprefix(_BOM) if is_first else text
            is_first = False
    if decoder:
        yield _decoded(file, decoder, b"")


def _decoded(file: Place, decoder: codecs.IncrementalDecoder, raw: bytes) -> bytes:
    try:
        return decoder.decode(raw, final=not raw).encode()
    except UnicodeError as error:
        raise InputError(
            f"{file} is not what dataset.encoding says: {error}. Set it to the file's encoding."
        ) from None


def _check_start(file: Place, raw: bytes, encoding: str) -> None:
    """Raise InputError if the first bytes are not text in `encoding`."""
    for sign, what in _SIGNS.items():
        if raw.startswith(sign):
            raise InputError(f"{file} {what}.")
    start = raw[:4096]
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig") and (
        start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 4 * start.count(0) > len(start)
    ):
        has_mark = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        likely = "utf-16" if has_mark else "utf-16-be" if start.startswith(b"\0") else "utf-16-le"
        raise InputError(
            f"{file} seems to be UTF-16, not UTF-8. Set dataset.encoding to {likely}, or save the file as UTF-8."
        )


def _names(file: Place, line: int, header: bytes, dialect: Dialect) -> list[str]:
    width = header.count(dialect.delimiter.encode()) + 1
    table = _parse(header + b"\n", dialect, None, range(width), pa.binary())
    found = []
    for number, column in enumerate(table.columns, start=1):
        name = column[0].as_py() or b""
        try:
            found.append(name.decode())
        except UnicodeDecodeError:
            raise InputError(
                f"{file}, line {line}: the name of column {number}, {name!r}, is not UTF-8. {_encoding_fix(name)}"
            ) from None
    return found


def _parse(
    rows: bytes, dialect: Dialect, width: int | None, places: list[int] | range, kind: pa.DataType
) -> pa.Table:
    """Whole rows as a table of the columns at `places`. Without `width` the first row gives the number of columns."""
    columns = [f"f{number}" for number in range(width)] if width else None
    used = [f"f{place}" for place in places]
    return pacsv.read_csv(
        pa.py_buffer(rows),
        read_options=pacsv.ReadOptions(
            use_threads=False,
            block_size=len(rows) + 1,
            column_names=columns,
            autogenerate_column_names=columns is None,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=True,
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=used if columns else None,
            column_types=dict.fromkeys(used, kind),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _fault(file: Place, line: int, block: bytes, done: int, error: str) -> InputError:
    """The error for what the parser refused in the block that begins at `line`, after `done` rows."""
    if wrong := _WRONG_ROW.search(error):
        number, expected, found, text = wrong.groups()
        return InputError(
            f"{file}, row {done + int(number)}: {text[:80]!r} has {found} fields, not {expected}. "
            "Mend or remove the row."
        )
    if "UTF8" in error:
        for number, text in enumerate(re.split(rb"\r\n|\r|\n", block), start=line):
            try:
                text.decode()
            except UnicodeDecodeError:
                return InputError(f"{file}, line {number}: {text[:80]!r} is not UTF-8. {_encoding_fix(text)}")
    return InputError(f"{file}: {error}. Mend or remove the row.")


def _encoding_fix(text: bytes) -> str:
    """The setting for bytes that are not UTF-8. Single ones among ASCII letters are most likely Western European."""
    if re.search(rb"[\x80-\xff]{3}", text):
        return "Set dataset.encoding to the file's encoding, or save the file as UTF-8."
    likely = "cp1252" if re.search(rb"[\x80-\x9f]", text) else "latin-1"
    name = "Windows-1252" if likely == "cp1252" else "Latin-1"
    return f"It seems to be {name}: set dataset.encoding to {likely}, or save the file as UTF-8."
