"""One table as a Parquet or CSV file, written batch by batch; it appears when it is whole."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from longtail.errors import InputError
from longtail.workspace.place import Place

Format = Literal["parquet", "csv"]
FORMATS: tuple[Format, ...] = ("parquet", "csv")


def new_file(name: str | os.PathLike[str], overwrite: bool = False) -> Place:
    """The place of a file to write, a path or URI. Raises InputError if it is there already, or its name says no format."""
    place = Place.named(os.fspath(name), "to")
    if place.name.rpartition(".")[2] not in FORMATS:
        raise InputError(f"{place}: the name says no format. Let it end in .parquet or .csv.")
    check_free(place, overwrite)
    return place


def check_free(place: Place, overwrite: bool) -> None:
    if place.exists() and not (overwrite and place.is_file()):
        raise InputError(f"{place} is there already. Give another name, remove it, or say overwrite.")


@contextmanager
def writing(place: Place, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """What takes the batches of a table of `schema`; without them all, after an error, no file appears."""
    draft = place.parent.make_folder() / f".{os.getpid()}-{place.name}"
    try:
        with draft.fs.open_output_stream(draft.path) as stream:
            if place.name.endswith(".csv"):
                writer = pacsv.CSVWriter(stream, schema)
            else:
                writer = pq.ParquetWriter(stream, schema, compression="zstd")
            with writer:
                yield lambda batch: writer.write_table(batch.cast(schema))
        place.fs.move(draft.path, place.path)
    except BaseException:
        draft.delete()
        raise
