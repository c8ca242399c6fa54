"""The files of one version on this node: made once from the workspace, and memory-mapped by every process.

They are in the temporary folder of the node, not in the workspace: it may be in a bucket, and serving never writes there.
A lock of the operating system says which versions are in use. It ends with its process, whatever ends that.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from longtail.errors import InputError
from longtail.recommenders import assemble
from longtail.serving.versions.mapped_arrays import below, map_arrays, write_array
from longtail.serving.versions.retriever import ranked_rows
from longtail.serving.versions.served_users import ServedUsers
from longtail.serving.versions.version_arrays import Sources, check_unchanged, fit_meta, read_arrays
from longtail.workspace import Workspace, fingerprint

META, LOCK, DRAFT = "fits.json", ".lock", ".draft"
UNUSED_SECONDS = 24 * 3600
"""A version that no process uses is deleted after this time, or when another one of its workspace is made."""


class Lock:
    """Keeps a version from being deleted, as long as this object lives."""

    def __init__(self, file: Path, how: int) -> None:
        """`how` is LOCK_EX or LOCK_SH, with LOCK_NB to raise BlockingIOError instead of waiting."""
        while True:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._descriptor, how)
            except BaseException:
                os.close(self._descriptor)
                raise
            if file.exists() and os.fstat(self._descriptor).st_ino == file.stat().st_ino:
                break
            os.close(self._descriptor)  # another process deleted the version while this one waited
        os.utime(file)
        self.end = weakref.finalize(self, os.close, self._descriptor)
        """Gives the lock back before this object goes."""


@dataclass(frozen=True)
class NodeFiles:
    """A folder with the arrays of a version, its look-ups in rows/<n>/ and META, which stays while `lock` lives."""

    folder: Path
    lock: Lock

    @classmethod
    def of(cls, ws: Workspace, sources: Sources) -> "NodeFiles":
        """Waits if another process makes the same ones. Raises InputError if the workspace is rewritten meanwhile."""
        root = _own_folder(Path(tempfile.gettempdir()) / f"longtail-{os.getuid()}")
        family = fingerprint(ws.root.uri)
        folder = root / f"{family}-{sources.arrays}"
        while True:
            in_use = Lock(folder.with_suffix(LOCK), fcntl.LOCK_SH)
            if folder.exists():
                return cls(folder, in_use)
            in_use.end()
            making = Lock(folder.with_suffix(LOCK), fcntl.LOCK_EX)
            if not folder.exists():
                draft = folder.with_suffix(DRAFT)
                shutil.rmtree(draft, ignore_errors=True)
                _make(ws, sources, draft)
                # Arrow keeps what it has read with, gigabytes for a large store, and a replica lives for weeks.
                pa.default_memory_pool().release_unused()
                check_unchanged(ws, sources)
                draft.rename(folder)
                _delete_unused(root, family, folder)
            making.end()


def _make(ws: Workspace, sources: Sources, to: Path) -> None:
    for name, array in read_arrays(ws, sources):
        write_array(to, name, array)
    metas = fit_meta(ws, sources)
    (to / META).write_text(json.dumps(metas))
    arrays = map_arrays(to)
    users = ServedUsers.of(below(arrays, "users"))
    since = users.since(np.arange(len(users)))
    for number, meta in enumerate(metas):
        model = assemble(meta, below(arrays, f"fits/{number}"))
        width, blocks = ranked_rows(model, sources.candidates[sources.fits[number]], since)
        folder = to / "rows" / str(number)
        folder.mkdir(parents=True)
        files = [
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (len(users), width))
            for name, kind in (("items", np.int32), ("scores", np.float32))
        ]
        for rows, found in blocks:
            for file, part in zip(files, found, strict=True):
                file[rows] = part


def _own_folder(folder: Path) -> Path:
    """The folder, which only this user may write: everybody may write to the temporary folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o022 or folder.is_symlink():
        raise InputError(
            f"{folder}: others can write to it. Remove it, or set TMPDIR to a folder of your own."
        )
    return folder


def _delete_unused(root: Path, family: str, but: Path) -> None:
    """Delete versions that no process uses: old ones, and those of the same workspace."""
    for file in root.glob(f"*{LOCK}"):
        folder = file.with_suffix("")
        old = time.time() - file.stat().st_mtime > UNUSED_SECONDS
        if folder == but or not (old or folder.name.startswith(f"{family}-")):
            continue
        try:
            lock = Lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        for left in (folder, folder.with_suffix(DRAFT)):
            shutil.rmtree(left, ignore_errors=True)
        file.unlink()
        lock.end()
