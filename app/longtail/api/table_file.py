"""Write one table as a Parquet or CSV file, batch by batch. The file appears when it is complete."""

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
    """The place of a file to write. name: a path or URI. Raises InputError if the file exists and `overwrite` is false, or
    if its name does not end in .parquet or .csv.
    """
    place = Place.named(os.fspath(name), "to")
    if place.name.rpartition(".")[2] not in FORMATS:
        raise InputError(f"{place}: the name does not give a format. It must end in .parquet or .csv.")
    check_free(place, overwrite)
    return place


def check_free(place: Place, overwrite: bool) -> None:
    if place.exists() and not (overwrite and place.is_file()):
        raise InputError(f"{place} is there already. Give another name, remove it, or set overwrite.")


@contextmanager
def writing(place: Place, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Gives a function that writes a batch of a table with this schema. After an error there is no file at `place`."""
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
