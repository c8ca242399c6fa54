"""Benchmark files of whole numbers as text, as the authors of LightGCN and SASRec publish them; also compressed."""

import codecs
import io
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import lengths_of, offsets_of, rows_of
from longtail.data.files import listing, only, open_file, published_table, table
from longtail.data.source import CATALOGUE, TEST, TRAIN, Piece, Source, file_states, read_rows
from longtail.data.times import numbered
from longtail.errors import InputError
from longtail.recipe import Dataset
from longtail.workspace.place import Place

LINES_AT_ONCE = 1 << 16
_BOM = codecs.BOM_UTF8.decode("latin-1")


def open_lightgcn(folder: Place, dataset: Dataset) -> Source:
    """The source of train.txt and test.txt: a line `user item item …` for each user (LightGCN-PyTorch).

    The files have no times. Raises InputError if one is missing.
    """
    files = {}
    for part, key, usual in ((TRAIN, "interactions", "train.txt"), (TEST, "test", "test.txt")):
        name = getattr(dataset, key)
        found = published_table(folder, name or usual, "txt", named=bool(name))
        if not found:
            raise InputError(f"{folder}: no {name or usual}. Set dataset.{key}. There: {listing(folder)}.")
        files[part] = found
    return _source(files, _users_items)


def open_sasrec(folder: Place, dataset: Dataset) -> Source:
    """The source of a file with a line `user item` for each interaction, a user's oldest first (SASRec).

    It is `dataset.interactions`, or the only text file in the folder. Raises InputError if there is not exactly one.
    """
    found = table(folder, dataset.interactions, "txt") if dataset.interactions else only(folder, "txt")
    if not found or (len(found) > 1 and not dataset.interactions):
        raise InputError(
            f"{folder}: {len(found)} text files of interactions, one is needed. Set dataset.interactions. "
            f"There: {listing(folder)}."
        )
    return _source({None: found}, _user_item)


Parse = Callable[[Place, np.ndarray, pa.Array], tuple[pa.Array, pa.Array]]
"""From a file, line numbers (from 1) and these lines to user ids and item ids, one row per interaction."""


def _source(files: dict[int | None, list[Place]], parse: Parse) -> Source:
    """The source of the files, which are given by their part of the split."""

    def read(piece: Piece) -> Iterator[pa.Table]:
        done = 0
        for numbers, lines in _lines(piece.place):
            users, items = parse(piece.place, numbers, lines)
            times = numbered(np.full(len(users), piece.part or 0))
            yield read_rows(users, items, times, pa.nulls(len(users), pa.float32()), done)
            done += len(users)

    everything = [file for found in files.values() for file in found]
    return Source(
        pieces=[Piece(file, 0, part=part) for part, found in files.items() for file in found],
        read=read,
        catalogue=CATALOGUE.empty_table,
        has_times=False,
        files=file_states(everything),
        listing=str(everything[0]),
    )


def _users_items(file: Place, numbers: np.ndarray, lines: pa.Array) -> tuple[pa.Array, pa.Array]:
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
    lengths = lengths_of(fields)
    line = rows_of(lengths)
    is_item = np.ones(len(line), bool)
    is_item[offsets_of(lengths)[:-1]] = False
    users = pc.list_element(fields, 0).take(pa.array(line[is_item]))
    return users, fields.flatten().filter(pa.array(is_item))


def _user_item(file: Place, numbers: np.ndarray, lines: pa.Array) -> tuple[pa.Array, pa.Array]:
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
    wrong = np.flatnonzero(lengths_of(fields) != 2)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{file}, line {numbers[row]}: {lines[row].as_py()[:80]!r} has {len(fields[row])} fields, not 2. "
            "Give a line 'user item' for each interaction."
        )
    return pc.list_element(fields, 0), pc.list_element(fields, 1)


def _lines(file: Place) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Blocks of lines with their numbers, without empty lines.

    Raises InputError for the first line with anything but whole numbers.
    """
    done = 0
    with open_file(file) as stream:
        text = io.TextIOWrapper(stream, "latin-1")  # one character per byte; only digits are accepted below
        while block := [line.rstrip("\n") for line in islice(text, LINES_AT_ONCE)]:
            if not done:
                block[0] = block[0].removeprefix(_BOM)
            lines = pa.array(block, pa.string())
            wrong = pc.index(pc.match_substring_regex(lines, r"[^\d\s]"), True).as_py()
            if wrong >= 0:
                raise InputError(
                    f"{file}, line {done + wrong + 1}: {block[wrong][:80]!r} is not a line of whole numbers. Mend or "
                    "remove it."
                )
            filled = pc.match_substring_regex(lines, r"\d")
            yield done + 1 + np.flatnonzero(filled.to_numpy(zero_copy_only=False)), lines.filter(filled)
            done += len(block)
