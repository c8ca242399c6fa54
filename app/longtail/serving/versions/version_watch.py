"""Versions: a new one is loaded beside the old one, checked, and takes its place in one step.

A replica looks into its workspace every few seconds. What was published there since is loaded in a thread of its own, while
the old version goes on answering. A version that cannot be loaded, or does not pass its checks, is refused: the old one
stays. A request takes `current` once, when it begins, and keeps it, so no answer mixes two versions.

Not Serve's `reconfigure`: during it a replica gets no requests, which is an outage if it is the only one.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge

from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.serving.metrics import REGISTRY
from longtail.serving.versions.served_run import sources_of
from longtail.workspace import Workspace

POLL_SECONDS = 5.0
RETRY_SECONDS = 60.0
"""A refused version is tried again after this time, even if nothing was published: memory or a file system may be back."""
log = logging.getLogger("longtail")

SWAPS = Counter(
    "longtail_version_swaps", "How often a version took the place of another one.", registry=REGISTRY
)
REFUSALS = Counter("longtail_version_refusals", "How often a version was refused.", registry=REGISTRY)
REFUSED = Gauge(
    "longtail_version_refused",
    "1 while what lies in the workspace is refused, and an older version is served.",
    registry=REGISTRY,
)


class Snapshot(Protocol):
    """All of one version, immutable."""

    @property
    def version(self) -> str:
        """The `model_version` of its answers."""
        ...

    def check(self) -> None:
        """Raises an exception if its parts do not belong together, or if it cannot answer a question."""
        ...


S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True)
class State:
    """What the route `version` says. serving: the version; since: Unix seconds. refused: why what lies in the workspace now
    is not served, None if it is.
    """

    serving: str
    since: float
    refused: str | None = None


class Versions(Generic[S]):
    """The version that is served, and the thread that looks for a newer one."""

    def __init__(
        self, load: Callable[[], S], marks: Callable[[], Hashable], every: float = POLL_SECONDS
    ) -> None:
        """Load the first version. Raises what `load` and `check` raise: then there is nothing to serve.

        load: reads what lies in the workspace now; it may raise anything. marks: a value that is another one after
        something was published; it is asked every `every` seconds, so it must be cheap.
        """
        self._load, self._marks, self._every = load, marks, every
        self._served = self._tried = marks()
        self.current: S = self._checked(self._served)
        """Take it once for each request."""
        self.state = State(self.current.version, time.time())
        self._tried_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="versions")

    def start(self) -> None:
        """Begin to look for new versions."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. It waits for a version that is being loaded."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """If something was published since, load it, check it and serve it, or say in `state` why not. Raises nothing."""
        try:
            seen = self._marks()
            if seen == self._served:
                self._tell(replace(self.state, refused=None))
                return
            if seen == self._tried and time.monotonic() - self._tried_at < RETRY_SECONDS:
                return
            self._tried, self._tried_at = seen, time.monotonic()
            found = self._checked(seen)
        except Exception as error:
            self._refuse(str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
            return
        log.info("serving version %s in place of %s", found.version, self.state.serving)
        self.current, self._served = found, seen
        self._tell(State(found.version, time.time()))
        SWAPS.inc()

    def _checked(self, seen: Hashable) -> S:
        """What lies in the workspace. If something was published while it was loaded, its parts may not fit together."""
        found = self._load()
        found.check()
        if self._marks() != seen:
            raise InputError("the workspace was written to while it was loaded; it is loaded again")
        return found

    def _refuse(self, why: str) -> None:
        if why != self.state.refused:
            log.error("version %s goes on serving, for the new one is refused: %s", self.state.serving, why)
        self._tell(replace(self.state, refused=why))
        REFUSALS.inc()

    def _tell(self, state: State) -> None:
        self.state = state
        REFUSED.set(state.refused is not None)

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.look()


def marks(ws: Workspace, serving: Serving) -> Hashable:
    """What changes in a workspace if a version is published, or a part of one: what all arms are made of, or why that
    cannot be served. It reads some small files and lists the folders of the parts.
    """
    try:
        sources = sources_of(ws, serving)
    except Exception as error:
        return str(error)
    return sources.version, sources.arrays
