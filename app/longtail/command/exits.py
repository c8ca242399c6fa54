"""What ends a command: each end has one message and an exit code, and nothing finished is lost."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from longtail.errors import EngineError, InputError
from longtail.runtime.ray_start import ray_is_here

log = logging.getLogger("longtail")


@contextmanager
def explained(place: Any) -> Iterator[None]:
    """Bad input, also found on a worker, ends with one message and exit code 2, as does a full disk; Ctrl-C with 130;
    anything else with 1, and if Ray was there with where its logs are.

    place: what a full disk is said of.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.warning("Stopped. The same command goes on where this one ended.")
        raise typer.Exit(130) from None
    except EngineError as error:
        log.error("%s", error)
        raise typer.Exit(1) from None
    except Exception as error:
        if bad := bad_input(error):
            log.error("%s", bad)
        elif _is_disk_full(error):
            log.error(
                "%s: no space left on the disk. Free some, or give another --workspace; what is finished stays.",
                place,
            )
        else:
            # What a Ray task says itself is all of its traceback.
            cause = getattr(error, "cause", None) or error
            log.error("%s: %s", type(cause).__name__, str(cause) or "no message", exc_info=error)
            if ray_is_here():
                from longtail.runtime.ray_start import ray_logs

                log.error("What is finished stays. Ray's logs: %s", ray_logs())
            raise typer.Exit(1) from None
        raise typer.Exit(2) from None


def bad_input(error: BaseException | None) -> InputError | None:
    """The InputError that an error is, or that came about in a task of Ray.

    Ray's errors name their `cause`; they are of its class as well, but what they say is a traceback.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        cause = getattr(error, "cause", None)
        if isinstance(error, InputError) and cause is None:
            return error
        error = cause or error.__cause__
    return None


def _is_disk_full(error: BaseException) -> bool:
    """Whether ENOSPC lies behind an error, also one that came back from a Ray task as text."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
