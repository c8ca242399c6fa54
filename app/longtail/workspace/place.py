"""Places: folders and files in any file system that `pyarrow.fs` supports, local or named by a URI."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from longtail.errors import InputError

CHUNK = 1 << 24
_FORMS = "s3://BUCKET/…, gs://BUCKET/…, abfss://CONTAINER@ACCOUNT/…, hdfs://HOST/… or a folder"


@dataclass(frozen=True)
class Place:
    """A folder or file in a file system; picklable, so that Ray tasks can read and write it from any node.

    `scheme` and `options` are the parts of its URI before and after the path, such as `s3://` and `?region=eu-west-1`.
    """

    fs: pafs.FileSystem
    path: str
    scheme: str = ""
    options: str = ""

    @classmethod
    def named(cls, uri: str, setting: str) -> "Place":
        """The place that the user gave as `setting`. It need not exist.

        Raises InputError for a URI that no file system supports, and for `~name` if there is no user of that name.
        """
        try:
            if "://" not in uri:
                return cls(pafs.LocalFileSystem(), _absolute(uri))
            fs, path = pafs.FileSystem.from_uri(uri)
        except (pa.ArrowException, OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(f"{setting} = {uri!r} cannot be opened: {reason}. Give {_FORMS}.") from None
        path = path.rstrip("/")
        if isinstance(fs, pafs.LocalFileSystem):
            return cls(fs, path)
        if not path:
            raise InputError(f"{setting} = {uri!r} names no bucket. Give {_FORMS}.")
        address, mark, options = uri.partition("?")
        return cls(fs, path, _scheme(address, fs.type_name), mark + options)

    def __truediv__(self, name: str) -> "Place":
        return self.at(f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def parent(self) -> "Place":
        return self.at(self.path.rpartition("/")[0])

    @property
    def parents(self) -> list["Place"]:
        """The folders above this one, the nearest first. A bucket is the last of them."""
        parts = self.path.split("/")[:-1]
        return [self.at("/".join(parts[:n])) for n in range(len(parts), 0, -1) if any(parts[:n])]

    def at(self, path: str) -> "Place":
        """Another path in the same file system."""
        return replace(self, path=path)

    @property
    def uri(self) -> str:
        """Opens this place on any node: the path if it is local, else a URI with the scheme and options of the user's."""
        return f"{self.scheme}{quote(self.path)}{self.options}" if self.scheme else self.path

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, pafs.LocalFileSystem)

    def exists(self) -> bool:
        return self.fs.get_file_info(self.path).type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        return self.fs.get_file_info(self.path).is_file

    def contents(self) -> list[pafs.FileInfo]:
        """Information about all files and folders below this one, sorted by path; [] if this one does not exist."""
        found = self.fs.get_file_info(pafs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return sorted(found, key=lambda info: info.path)

    def files(self, suffix: str = "") -> list["Place"]:
        """The files below this folder, sorted by path."""
        return [self.at(info.path) for info in self.contents() if info.is_file and info.path.endswith(suffix)]

    def make_folder(self) -> "Place":
        self.fs.create_dir(self.path, recursive=True)
        return self

    def delete(self) -> None:
        kind = self.fs.get_file_info(self.path).type
        if kind == pafs.FileType.Directory:
            self.fs.delete_dir(self.path)
        elif kind == pafs.FileType.File:
            self.fs.delete_file(self.path)

    def read_bytes(self) -> bytes:
        with self.fs.open_input_stream(self.path) as stream:
            return stream.read()

    def chunks(self) -> Iterator[bytes]:
        """The raw bytes of a file, CHUNK at a time, so that the whole file is never in memory."""
        with self.fs.open_input_stream(self.path, compression=None) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def write_bytes(self, data: bytes) -> None:
        self.parent.make_folder()
        with self.fs.open_output_stream(self.path) as stream:
            stream.write(data)

    def replace_bytes(self, data: bytes) -> None:
        """Like `write_bytes`, but a concurrent reader gets the old bytes or the new ones, never a part."""
        if not self.is_local:
            self.write_bytes(data)  # an object becomes visible only when it is complete
            return
        draft = self.parent / f".{self.name}-{os.getpid()}"
        draft.write_bytes(data)
        os.replace(draft.path, self.path)

    def read_json(self) -> Any:
        return json.loads(self.read_bytes())

    def write_json(self, value: Any) -> None:
        self.write_bytes(json.dumps(value, indent=1, default=str).encode())

    def read_table(self, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file, or a folder of them, as one table."""
        return pq.read_table(self.path, columns=columns, filesystem=self.fs)

    def write_table(self, table: pa.Table) -> None:
        self.parent.make_folder()
        pq.write_table(table, self.path, filesystem=self.fs, compression="zstd")

    @contextmanager
    def local(self) -> Iterator[Path]:
        """This folder as a local path: the folder itself, or a copy that is deleted afterwards."""
        if self.is_local:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            pafs.copy_files(
                self.path, folder, source_filesystem=self.fs, destination_filesystem=pafs.LocalFileSystem()
            )
            yield Path(folder)

    def upload(self, folder: str | Path) -> None:
        """Copy a local folder into this place."""
        self.make_folder()
        pafs.copy_files(
            str(folder), self.path, source_filesystem=pafs.LocalFileSystem(), destination_filesystem=self.fs
        )


def _scheme(address: str, kind: str) -> str:
    """The part of `address`, a URI without options, before the path that `pyarrow.fs` returns for it."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    before = {
        "s3": user + at,
        "gcs": user + at,
        "abfs": host.replace(".dfs.", ".blob.") + "/",
        "mock": "/",
    }.get(kind, parts.netloc)
    return f"{parts.scheme}://{before}"


def _absolute(path: str) -> str:
    if not path.strip() or "\0" in path:
        raise ValueError("it names no folder")
    return str(Path(path).expanduser().resolve())
