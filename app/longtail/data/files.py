"""Finding and opening raw files: the log, the test file and the catalogue of every source."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from longtail.errors import InputError
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from longtail.recipe import Dataset

PACKED = {".gz": "gzip", ".bz2": "bz2", ".lz4": "lz4", ".zst": "zstd"}
"""The end of the name of a compressed file, and the name of the compression in Arrow."""
_LAKES = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}
"""Folders that mark a table format with a log of its own, which says which Parquet files are valid."""
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_SHOWN = 20
log = logging.getLogger("longtail")


@contextmanager
def readable(file: Place | str, kind: str = "") -> Iterator[None]:
    """Turn errors of Arrow and of the system during the block into an InputError that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: {error.object[:80]!r} is not UTF-8. Mend the file.") from None
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        as_kind = f" as {kind}" if kind else ""
        raise InputError(f"{file} cannot be read{as_kind}: {reason}. Mend the file.") from None


def locate(dataset: "Dataset", suffix: str) -> tuple[Place, "Dataset"]:
    """The folder that `dataset.path` names, and the settings to read it with.

    The path may also name the table itself: a file, or a folder `NAME.suffix` of parts. Then the folder around it is
    returned, and `dataset.interactions` is its name. Raises InputError if the path is neither a folder nor a file.
    """
    path = Place.named(dataset.path, "dataset.path")
    if "://" not in dataset.path:
        # A link to a file keeps its own name and folder, because the name says how to read the file.
        path = path.at(os.path.abspath(os.path.expanduser(dataset.path)))
    with readable(path):
        kind = path.fs.get_file_info(path.path).type
        if kind == pafs.FileType.NotFound:
            raise InputError(
                f"dataset.path: {path} does not exist. Set it to the folder with the raw files, or to the file."
            )
        if kind == pafs.FileType.Unknown:
            raise InputError(f"dataset.path: {path} is neither a file nor a folder. Set it to one.")
        if kind == pafs.FileType.Directory and (dataset.interactions or not _is_parts(path, suffix)):
            return path, dataset
    if dataset.interactions not in (None, path.name):
        raise InputError(
            f"dataset.path names the file {path}, and dataset.interactions = {dataset.interactions!r} another one. "
            "Set dataset.path to the folder, or remove dataset.interactions."
        )
    return path.at(path.parent.path or "/"), dataset.model_copy(update={"interactions": path.name})


def table(folder: Place, name: str, suffix: str, named: bool = True) -> list[Place]:
    """The files of the table `name` in `folder`: one plain or compressed file, or the parts in a folder; [] if none.

    named: the user gave the name, so a file with exactly this name is used. In other cases two possible files are an error.
    """
    if name in (".", "./"):
        return parts(folder, suffix)
    candidates = [folder / f"{name.removeprefix('./')}{packed}" for packed in ("", *PACKED)]
    with readable(folder):
        infos = [file.fs.get_file_info(file.path) for file in candidates]
    found = [
        (file, info)
        for file, info in zip(candidates, infos, strict=True)
        if info.type != pafs.FileType.NotFound
    ]
    if not found:
        return []
    if len(found) > 1 and not (named and found[0][0] is candidates[0]):
        both = " and ".join(file.name for file, _ in found)
        raise InputError(f"{folder}: {both} are both there. Remove one, or name one in the recipe.")
    file, info = found[0]
    if info.type == pafs.FileType.Unknown:
        raise InputError(f"{file} is neither a file nor a folder. Give a file.")
    read = [file] if info.is_file else parts(file, suffix)
    if not read:
        raise InputError(f"{file} is a folder without a {suffix} file. It has: {listing(file)}.")
    return read


def published_table(folder: Place, name: str, suffix: str, named: bool = True) -> list[Place]:
    """The files of a table that benchmarks publish, in `folder` or in its sub folder `original`."""
    return table(folder, name, suffix, named) or table(folder / "original", name, suffix, named)


def parts(folder: Place, suffix: str) -> list[Place]:
    """The data files with this suffix below `folder`, sorted by path. A warning names the other files.

    Spark writes empty parts without a header; these are left out. An empty Parquet file stays: reading it is an error.
    Raises InputError for a part that is there both plain and compressed, and for a Delta Lake or Hudi table.
    """
    with readable(folder):
        everything = folder.files()
    for file in everything:
        for step in _steps(folder, file):
            if step in _LAKES:
                raise InputError(
                    f"{folder} is a table of {_LAKES[step]}, which keeps old files beside the valid ones. Export it to "
                    "a folder of plain Parquet."
                )
    shown = [file for file in everything if not is_hidden(folder, file)]
    found = [file for file in shown if plain_name(file).endswith(f".{suffix}")]
    if found and len(found) < len(shown):
        read = {file.path for file in found}
        others = [file.name for file in shown if file.path not in read]
        log.warning(
            "%s: not read, because the name does not end in .%s: %s",
            *(folder, suffix, ", ".join(others[:_SHOWN])),
        )
    twins: dict[str, Place] = {}
    for file in found:
        twin = twins.setdefault(file.path.removesuffix(_packed(file)), file)
        if twin is not file:
            raise InputError(f"{folder}: {twin.name} and {file.name} are both there. Remove one.")
    if suffix == "parquet" or len(found) < 2:
        return found
    with readable(folder):
        return [file for file in found if file.fs.get_file_info(file.path).size] or found[:1]


def only(folder: Place, suffix: str) -> list[Place]:
    """All files with this suffix below `folder`, of any name."""
    with readable(folder):
        return [
            file
            for file in folder.files()
            if not is_hidden(folder, file) and plain_name(file).endswith(f".{suffix}")
        ]


def _is_parts(folder: Place, suffix: str) -> bool:
    """Whether a folder is itself a table: its name has the suffix, and it has parts but no table of the usual name."""
    usual = [folder / f"{name}.{suffix}" for name in ("interactions", "train")]
    return (
        folder.name.lower().endswith(f".{suffix}")
        and not any(place.exists() for place in usual)
        and bool(only(folder, suffix))
    )


def is_hidden(folder: Place, file: Place) -> bool:
    """Whether a part of the path below `folder` begins with _ or . and so is not data, by the rule of Spark and Hadoop.

    A folder `key=value` is a partition, even if its key begins with one of these.
    """
    *folders, name = _steps(folder, file)
    return name.startswith(("_", ".")) or any(
        step.startswith(("_", ".")) and step.find("=") < 1 for step in folders
    )


def partition(file: Place) -> dict[str, str | None]:
    """Columns for all rows of a file, from the folders `key=value` above it (partitions of Hive)."""
    pairs = [step.partition("=") for step in file.path.split("/")[:-1] if step.find("=") > 0]
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, _, value in pairs}


def open_file(file: Place) -> Any:
    """The bytes of a file as a stream, decompressed if its name says that it is compressed."""
    return file.fs.open_input_stream(file.path, compression=PACKED.get(_packed(file).lower()))


def is_packed(file: Place) -> bool:
    return bool(_packed(file))


def listing(folder: Place) -> str:
    """The first names in a folder, for a message."""
    return ", ".join(named_like(folder, "")[:_SHOWN]) or "nothing"


def named_like(folder: Place, start: str) -> list[str]:
    """The names in a folder that begin with `start`, sorted; those of folders end in /."""
    with readable(folder):
        infos = folder.fs.get_file_info(pafs.FileSelector(folder.path))
    return sorted(
        f"{info.base_name}{'' if info.is_file else '/'}" for info in infos if info.base_name.startswith(start)
    )


def _steps(folder: Place, file: Place) -> list[str]:
    """The parts of a file's path below `folder`."""
    return file.path.removeprefix(folder.path).strip("/").split("/")


def _packed(file: Place) -> str:
    """The end of the name that says how a file is compressed, or an empty text."""
    return next((file.name[-len(end) :] for end in PACKED if file.name.lower().endswith(end)), "")


def plain_name(file: Place) -> str:
    """A file's name in lower case, without the end that says how it is compressed."""
    return file.name.removesuffix(_packed(file)).lower()
