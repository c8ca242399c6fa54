"""Where the raw files lie: one look-up for the log, the test and the catalogue of every source."""

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
"""How a packed file's name ends, and what Arrow calls that."""
_LAKES = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}
"""Folders beside the Parquet files of a table whose valid files are named in a log of its own."""
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_SHOWN = 20
log = logging.getLogger("longtail")


@contextmanager
def readable(file: Place | str, kind: str = "") -> Iterator[None]:
    """Raise InputError with the file's name for whatever Arrow or the system says of it while it is read."""
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

    If the path names the table itself, a file or a folder of parts called `NAME.suffix`, the folder is that around it,
    and `dataset.interactions` its name. Raises InputError for a path that names neither.
    """
    path = Place.named(dataset.path, "dataset.path")
    if "://" not in dataset.path:
        # A link to a file keeps its own name, which says what the file is, and its own folder.
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
    """The files of the table `name` in `folder`: one, plain or packed, or the parts of a folder; [] if it is not there.

    If a user `named` it, a file of just that name is taken. Else two files that could be meant are an error.
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
    """The data files of a kind below `folder`, sorted by path; names the others in a warning.

    An empty part is left out, for Spark writes such without a header; an empty Parquet file is a broken one.
    Raises InputError for a part that is there twice, plain and packed, and for a table that only its own log can tell.
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
            "%s: not read, for the name does not end in .%s: %s",
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
    """All files of a kind in `folder` of which one is wanted, whatever its name."""
    with readable(folder):
        return [
            file
            for file in folder.files()
            if not is_hidden(folder, file) and plain_name(file).endswith(f".{suffix}")
        ]


def _is_parts(folder: Place, suffix: str) -> bool:
    """Whether a folder is a table by itself: its name says so, and in it are parts but no table of the usual name."""
    usual = [folder / f"{name}.{suffix}" for name in ("interactions", "train")]
    return (
        folder.name.lower().endswith(f".{suffix}")
        and not any(place.exists() for place in usual)
        and bool(only(folder, suffix))
    )


def is_hidden(folder: Place, file: Place) -> bool:
    """Whether a part of the path below `folder` begins with _ or . and so is no data, as Spark and Hadoop have it.

    A folder `key=value` is a partition, whatever its key begins with.
    """
    *folders, name = _steps(folder, file)
    return name.startswith(("_", ".")) or any(
        step.startswith(("_", ".")) and step.find("=") < 1 for step in folders
    )


def partition(file: Place) -> dict[str, str | None]:
    """Columns that the folders `key=value` above a file give to all of its rows (Hive's partitions)."""
    pairs = [step.partition("=") for step in file.path.split("/")[:-1] if step.find("=") > 0]
    return {unquote(key): None if value == _HIVE_NULL else unquote(value) for key, _, value in pairs}


def open_file(file: Place) -> Any:
    """The bytes of a file as a stream, unpacked if its name says that it is packed."""
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
    """The end of a name that says how a file is packed, or nothing."""
    return next((file.name[-len(end) :] for end in PACKED if file.name.lower().endswith(end)), "")


def plain_name(file: Place) -> str:
    """A file's name in small letters, as it would be unpacked."""
    return file.name.removesuffix(_packed(file)).lower()
