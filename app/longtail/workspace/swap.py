"""Publishing: a draft replaces the published version, which stays until the new one is complete.

A local folder is exchanged with its draft in one step. An object store cannot rename. There the complete draft is marked
first, so that the next writer can finish the copy if this process is killed.
"""

import ctypes
import errno
import logging
import os
import shutil
import time
from typing import Any

import pyarrow.fs as pafs

from longtail.errors import InputError
from longtail.workspace.place import Place

MANIFEST = "_manifest.json"
DRAFT, OLD = ".draft-", ".old-"
_OPEN, _WHOLE = "_open", "_whole.json"
"""Files that mark a draft: it is still being written, or it is complete and replaces the published version."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
log = logging.getLogger("longtail")


def begin(place: Place) -> Place:
    """A new draft next to `place`, to write to."""
    draft = place.parent / f"{DRAFT}{place.name}-{os.getpid()}-{time.monotonic_ns()}"
    (draft / _OPEN).write_bytes(b"")
    return draft


def is_draft(place: Place, root: Place) -> bool:
    """Whether a path below `root` is in a draft or in a replaced version, which are not published."""
    parts = place.path.removeprefix(root.path).split("/")
    return any(part.startswith((DRAFT, OLD)) for part in parts)


def sizes(place: Place) -> dict[str, int]:
    """The bytes of every file in a folder, by its path in there, without the manifest and the files that mark a draft."""
    infos = [info for info in place.contents() if info.is_file]
    files = {info.path.removeprefix(place.path).strip("/"): info.size for info in infos}
    return {path: size for path, size in files.items() if path not in (MANIFEST, _OPEN, _WHOLE)}


def publish(draft: Place, place: Place, manifest: dict[str, Any]) -> None:
    """Replace `place` by the complete `draft`, with its manifest.

    Raises InputError if the draft was removed while it was written: what is left of it is not complete.
    """
    if not (draft / _OPEN).exists():
        raise InputError(
            f"{draft}: was removed while it was written, and is not published. Nothing else was lost; run this again."
        )
    manifest |= {"files": sizes(draft)}
    if place.is_local:
        (draft / MANIFEST).write_json(manifest)
        (draft / _OPEN).delete()
        _exchange(draft, place)
    else:
        (draft / _WHOLE).write_json(manifest)
        _copy(draft, place)


def take_over(source: Place, place: Place, manifest: dict[str, Any]) -> None:
    """Publish at `place` the files that are published at `source` of the same file system.

    Local files are hard links: they take no space, and stay if `source` is replaced, because a published file is never
    changed.
    """
    draft = begin(place)
    try:
        if place.is_local:
            for path in sizes(source):
                _link(source / path, draft / path)
        else:
            pafs.copy_files(
                source.path, draft.path, source_filesystem=source.fs, destination_filesystem=draft.fs
            )
            (draft / MANIFEST).delete()
        publish(draft, place, manifest)
    except BaseException:
        draft.delete()
        raise


def _link(source: Place, target: Place) -> None:
    target.parent.make_folder()
    try:
        os.link(source.path, target.path)
    except OSError:  # not all file systems have links, and none to another device
        shutil.copyfile(source.path, target.path)


def recover(root: Place) -> None:
    """Finish each complete draft below `root` and remove the others: the processes that wrote them are dead."""
    for info in root.contents():
        folder = root.at(info.path)
        if info.is_file or is_draft(folder.parent, root):
            continue
        if info.base_name.startswith(OLD) and not (place := _place_of(folder, OLD)).exists():
            log.warning("%s: a writer was killed while it replaced this; the old version is restored", place)
            os.rename(folder.path, place.path)
        elif info.base_name.startswith(DRAFT) and (folder / _WHOLE).exists():
            _copy(folder, _place_of(folder, DRAFT))
        elif info.base_name.startswith((DRAFT, OLD)):
            folder.delete()


def _place_of(folder: Place, prefix: str) -> Place:
    return folder.parent / folder.name.removeprefix(prefix).rsplit("-", 2)[0]


def _exchange(draft: Place, place: Place) -> None:
    """Replace `place` in one step if the file system can, else in two. `recover` undoes a first step without a second."""
    if not place.exists():
        os.rename(draft.path, place.path)
        return
    if _exchanged(draft.path, place.path):
        draft.delete()
        return
    old = draft.parent / draft.name.replace(DRAFT, OLD, 1)
    os.rename(place.path, old.path)
    os.rename(draft.path, place.path)
    old.delete()


def _exchanged(one: str, other: str) -> bool:
    """Call Linux's renameat2(2), which Python does not offer. False if the file system does not support it."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), other)


def _copy(draft: Place, place: Place) -> None:
    """Delete the old manifest first and write the new one last: a kill between them is seen, and `recover` copies again."""
    manifest = (draft / _WHOLE).read_json()
    (place / MANIFEST).delete()
    place.delete()
    place.make_folder()
    pafs.copy_files(draft.path, place.path, source_filesystem=draft.fs, destination_filesystem=place.fs)
    for mark in (_OPEN, _WHOLE):
        (place / mark).delete()
    (place / MANIFEST).write_json(manifest)
    draft.delete()
