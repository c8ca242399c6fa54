"""One writer per workspace: a lease says who writes, since when, and that he is alive.

A writer puts a claim of his own into the folder `_lease` and then lists it: he has the lease if no other living claim is
there. Of two who claim at the same time the later one always sees the earlier one's claim, so two can never both have
it; this needs no lock and holds on every file system that lists what was written. The claim is written again every few
seconds. Readers write nothing, and need no lease.
"""

import getpass
import json
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from longtail.errors import InputError
from longtail.progress import duration
from longtail.workspace.place import Place

FOLDER = "_lease"
BEAT_SECONDS = 10.0
DEAD_SECONDS = 90.0
"""An owner on another machine who was silent for so long is dead; of one on this machine the process tells."""
_TRIES = 5

log = logging.getLogger("longtail")


@dataclass(frozen=True)
class Owner:
    """Who writes. `process_space` tells whether `pid` means anything here; times are Unix seconds by his own clock."""

    token: str
    command: str
    user: str
    host: str
    job: str | None
    pid: int
    pid_since: float
    process_space: str
    since: float

    @classmethod
    def this_process(cls) -> "Owner":
        return cls(
            token=uuid4().hex,
            command=_command(),
            user=_user(),
            host=socket.gethostname(),
            job=_job(),
            pid=os.getpid(),
            pid_since=psutil.Process().create_time(),
            process_space=_process_space(),
            since=time.time(),
        )

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"`{self.command}` of {self.user} on {self.host} (process {self.pid}{job})"


class Lease:
    """The claim of this process on one workspace, once it is held; counted, so that stages may ask for it again."""

    def __init__(self, root: Place) -> None:
        self.root, self.owner, self.uses = root, Owner.this_process(), 0
        self._file = root / FOLDER / f"{self.owner.token}.json"
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True, name="lease")

    def take(self) -> None:
        """Raises InputError with the owner's name and age if another one writes here, or if nobody can."""
        for _ in range(_TRIES):
            self._claim()
            others = [other for other in self._others() if other is not None]
            if not others:
                self._beats.start()
                return
            self._file.delete()
            oldest = min(others, key=lambda other: other.since)
            if time.time() - oldest.since > 1:
                break
            time.sleep(random.uniform(0.05, 0.3))  # both began at the same moment, and both stood back
        age = duration(max(time.time() - oldest.since, 0))
        raise InputError(
            f"{self.root}: {oldest} writes here since {age}. Wait until it ends, or give another --workspace."
        )

    def require(self) -> None:
        """Raise InputError if another process took this one for dead: then nothing may be published any more."""
        if not self._file.exists():
            raise InputError(
                f"{self.root}: this command was silent for too long, and another one writes there now. Nothing more was "
                "published; what is finished stays. Run it again after the other one."
            )

    def release(self) -> None:
        self._ended.set()
        self._beats.join()
        with suppress(OSError):
            self._file.delete()

    def _claim(self) -> None:
        """Written under another name first: whoever lists the folder reads a whole claim."""
        data = json.dumps(asdict(self.owner)).encode()
        try:
            self._file.replace_bytes(data)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self.root}: cannot be written: {reason}. Give another --workspace.") from None

    def _others(self) -> Iterator[Owner | None]:
        """The living owners but this one. The claims of dead ones go."""
        claims = {
            info.path: info.mtime_ns
            for info in (self.root / FOLDER).contents()
            if info.path.endswith(".json") and not info.base_name.startswith(".")
        }
        now = claims.pop(self._file.path, time.time_ns())  # as the others by the clock of the file server
        for path, changed in claims.items():
            file = self.root.at(path)
            try:
                owner = Owner(**file.read_json())
            except FileNotFoundError:
                continue
            except (ValueError, TypeError, OSError):
                owner = None  # of another version, or cut off while it was written
            silent = (now - changed) / 1e9
            if _lives(owner, silent):
                yield owner or _unknown(silent)
            else:
                log.warning("%s: %s is dead; its lease is taken over", self.root, owner or "a writer")
                file.delete()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError, InputError):
                if self.root.is_local:
                    os.utime(
                        self._file.path
                    )  # never makes it again if another process took this one for dead
                elif self._file.exists():
                    self._claim()


def _lives(owner: Owner | None, silent_seconds: float) -> bool:
    if owner is None or owner.process_space != _process_space():
        return silent_seconds < DEAD_SECONDS
    try:
        return abs(psutil.Process(owner.pid).create_time() - owner.pid_since) < 1
    except psutil.Error:
        return False


_held: dict[str, Lease] = {}
_lock = threading.RLock()
_session: ExitStack | None = None


@contextmanager
def held(root: Place, on_taking: Callable[[], None]) -> Iterator[Lease]:
    """The lease of `root` for the block; `on_taking` is called if this process did not have it yet."""
    with _lock:
        lease = _held.get(root.uri)
        if lease is None or lease.owner.pid != os.getpid():
            lease = Lease(root)
            lease.take()
            try:
                on_taking()
            except BaseException:
                lease.release()
                raise
            _held[root.uri] = lease
        lease.uses += 1
    try:
        yield lease
    finally:
        with _lock:
            lease.uses -= 1
            if not lease.uses:
                del _held[root.uri]
                lease.release()


def keep(root: Place, on_taking: Callable[[], None]) -> None:
    """Take the lease of `root` now and keep it until the session ends; outside of one, each publishing takes it."""
    if _session is not None:
        _session.enter_context(held(root, on_taking))


@contextmanager
def session() -> Iterator[None]:
    """One command: what it keeps is released at its end, however it ends."""
    global _session
    with ExitStack() as stack:
        _session = stack
        try:
            yield
        finally:
            _session = None


def _unknown(silent: float) -> Owner:
    return Owner("", "another version of longtail", "?", "?", None, 0, 0.0, "", time.time() - silent)


def _process_space() -> str:
    """Within one of these a process number means one process: the start of the machine and, in a container, its own."""
    parts: list[Any] = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.stat("/proc/self/ns/pid").st_ino)
    return "/".join(map(str, parts))


def _command() -> str:
    """Without its options: a URI among them may hold a secret."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    return " ".join(word for word in words if word.replace("-", "").replace(".py", "").isalnum()) or "python"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _job() -> str | None:
    """The id of the submitted Ray job that this is, if it is one."""
    with suppress(ValueError, AttributeError):
        config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        return config.get("metadata", {}).get("job_submission_id")
    return None
