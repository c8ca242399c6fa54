"""One writer per workspace: a lease records which process writes, since when, and that it is alive.

A process writes its own claim into the folder `_lease` and then lists the folder. It has the lease if there is no claim
of another living process. If two processes claim at the same time, the later one always sees the claim of the earlier
one, so they can never both have the lease. This needs no lock, and works on every file system whose listings show what
was written. The claim is refreshed every few seconds. Readers write nothing and need no lease.
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
"""An owner on another machine is dead if its claim is older than this. On this machine the process itself is checked."""
_TRIES = 5

log = logging.getLogger("longtail")


@dataclass(frozen=True)
class Owner:
    """The process that writes. Its `pid` is known here only if `process_space` is ours. Times: Unix seconds, its clock."""

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
    """The lease of this process on one workspace. Uses are counted: a stage may ask for it while the command holds it."""

    def __init__(self, root: Place) -> None:
        self.root, self.owner, self.uses = root, Owner.this_process(), 0
        self._file = root / FOLDER / f"{self.owner.token}.json"
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True, name="lease")

    def take(self) -> None:
        """Take the lease. Raises InputError if another process has it, naming that one, or if nothing can be written."""
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
            time.sleep(random.uniform(0.05, 0.3))  # two claimed at the same time, and both withdrew
        age = duration(max(time.time() - oldest.since, 0))
        raise InputError(
            f"{self.root}: {oldest} has been writing here for {age}. Wait until it ends, or give another --workspace."
        )

    def require(self) -> None:
        """Raise InputError if another process took the lease over: then this one must not publish any more."""
        if not self._file.exists():
            raise InputError(
                f"{self.root}: this command did not refresh its lease in time, and another one writes there now. Nothing "
                "more was published; finished stages stay. Run it again after the other one."
            )

    def release(self) -> None:
        self._ended.set()
        self._beats.join()
        with suppress(OSError):
            self._file.delete()

    def _claim(self) -> None:
        """Write the claim under another name first, then rename it, so that nobody reads half a claim."""
        data = json.dumps(asdict(self.owner)).encode()
        try:
            self._file.replace_bytes(data)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"{self.root}: cannot be written: {reason}. Give another --workspace.") from None

    def _others(self) -> Iterator[Owner | None]:
        """The other living owners. Claims of dead owners are deleted."""
        claims = {
            info.path: info.mtime_ns
            for info in (self.root / FOLDER).contents()
            if info.path.endswith(".json") and not info.base_name.startswith(".")
        }
        now = claims.pop(self._file.path, time.time_ns())  # like the others, by the clock of the file server
        for path, changed in claims.items():
            file = self.root.at(path)
            try:
                owner = Owner(**file.read_json())
            except FileNotFoundError:
                continue
            except (ValueError, TypeError, OSError):
                owner = None  # of another version, or truncated
            silent = (now - changed) / 1e9
            if _is_alive(owner, silent):
                yield owner or _unknown(silent)
            else:
                log.warning("%s: %s is dead; its lease is taken over", self.root, owner or "a writer")
                file.delete()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError, InputError):
                if self.root.is_local:
                    os.utime(self._file.path)  # does not create the file again if another process deleted it
                elif self._file.exists():
                    self._claim()


def _is_alive(owner: Owner | None, silent_seconds: float) -> bool:
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
    """Hold the lease of `root` during the block. `on_taking` is called if this process did not hold it before."""
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
    """Take the lease of `root` and keep it until the session ends. Without a session, each publishing takes it."""
    if _session is not None:
        _session.enter_context(held(root, on_taking))


@contextmanager
def session() -> Iterator[None]:
    """The time of one command. The leases that it keeps are released at its end, also after an error."""
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
    """Identifies where process numbers are unique: this machine since it started and, in a container, the container."""
    parts: list[Any] = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.stat("/proc/self/ns/pid").st_ino)
    return "/".join(map(str, parts))


def _command() -> str:
    """The command line without its options, because a URI there may contain a secret."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    return " ".join(word for word in words if word.replace("-", "").replace(".py", "").isalnum()) or "python"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _job() -> str | None:
    """The id of the submitted Ray job, if this process is one."""
    with suppress(ValueError, AttributeError):
        config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
        return config.get("metadata", {}).get("job_submission_id")
    return None
