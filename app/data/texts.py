"""Benchmark files of whole numbers in plain text, as the LightGCN and SASRec authors publish them; also gzipped."""

import io
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.data.source import CATALOGUE, TEST, TRAIN, Piece, Source, file_states, find_file, listing, read_rows
from app.data.times import numbered
from app.errors import InputError
from app.recipe import Dataset
from app.workspace import Place

LINES_AT_ONCE = 1 << 16


def open_lightgcn(folder: Place, dataset: Dataset) -> Source:
    """The source of train.txt and test.txt: a line `user item item …` for each user (LightGCN-PyTorch).

    The files say nothing of time. Raises InputError where one is missing.
    """
    files = []
    for key, usual in (("interactions", "train.txt"), ("test", "test.txt")):
        name = getattr(dataset, key) or usual
        file = find_file(folder, name)
        if file is None:
            raise InputError(f"{folder}: no {name}. Set dataset.{key}. There: {listing(folder)}.")
        files.append(file)
    return _source(files, (TRAIN, TEST), _users_items)


def open_sasrec(folder: Place, dataset: Dataset) -> Source:
    """The source of a file with a line `user item` for each interaction, a user's oldest first (SASRec).

    It is `dataset.interactions`, or the only text file of the folder. Raises InputError where there is not one.
    """
    if dataset.interactions:
        found = [file for file in [find_file(folder, dataset.interactions)] if file]
    else:
        found = [file for file in folder.files() if file.path.endswith((".txt", ".txt.gz"))]
    if len(found) != 1:
        raise InputError(
            f"{folder}: {len(found)} text files of interactions, one is needed. Set dataset.interactions. "
            f"There: {listing(folder)}."
        )
    return _source(found, (None,), _user_item)


Parse = Callable[[Place, np.ndarray, pa.Array], tuple[pa.Array, pa.Array]]
"""A file, line numbers (from 1) and their lines to user and item ids, one row an interaction."""


def _source(files: list[Place], parts: tuple[int | None, ...], parse: Parse) -> Source:
    def read(piece: Piece) -> Iterator[pa.Table]:
        done = 0
        for numbers, lines in _lines(piece.place):
            users, items = parse(piece.place, numbers, lines)
            times = numbered(np.full(len(users), piece.part or 0))
            yield read_rows(users, items, times, pa.nulls(len(users), pa.float32()), done)
            done += len(users)

    return Source(
        pieces=[Piece(file, 0, part=part) for file, part in zip(files, parts, strict=True)],
        read=read,
        catalogue=CATALOGUE.empty_table,
        has_times=False,
        files=file_states(files),
        listing=str(files[0]),
    )


def _users_items(file: Place, numbers: np.ndarray, lines: pa.Array) -> tuple[pa.Array, pa.Array]:
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
    lengths = pc.list_value_length(fields).to_numpy()
    line = np.repeat(np.arange(len(lines)), lengths)
    is_item = np.ones(len(line), bool)
    is_item[np.cumsum(lengths) - lengths] = False
    users = pc.list_element(fields, 0).take(pa.array(line[is_item]))
    return users, fields.flatten().filter(pa.array(is_item))


def _user_item(file: Place, numbers: np.ndarray, lines: pa.Array) -> tuple[pa.Array, pa.Array]:
    fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
    wrong = np.flatnonzero(pc.list_value_length(fields).to_numpy() != 2)
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{file}, line {numbers[row]}: {lines[row].as_py()[:80]!r} has {len(fields[row])} fields, not 2. "
            "Give a line 'user item' for each interaction."
        )
    return pc.list_element(fields, 0), pc.list_element(fields, 1)


def _lines(file: Place) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Blocks of lines with their numbers, empty ones left out.

    Raises InputError at the first line that is not of whole numbers.
    """
    done = 0
    with file.fs.open_input_stream(file.path) as stream:
        text = io.TextIOWrapper(
            stream, "latin-1"
        )  # one character a byte: any other than digits is refused below
        while block := [line.rstrip("\n") for line in islice(text, LINES_AT_ONCE)]:
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
