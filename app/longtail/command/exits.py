"""How a command ends: each end has one message and one exit code, and finished stages stay."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from longtail.errors import EngineError, bad_input
from longtail.runtime.ray_start import ray_is_here

log = logging.getLogger("longtail")


@contextmanager
def explained(place: Any) -> Iterator[None]:
    """Turn an exception in the block into a message and an exit code.

    Bad input, also if a worker found it, and a full disk give 2. Ctrl-C gives 130. Everything else gives 1, with a
    traceback and, if Ray is connected, the folder of its logs. place: named in the message about a full disk.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.warning("Stopped. Run the same command again to continue from here.")
        raise typer.Exit(130) from None
    except EngineError as error:
        log.error("%s", error)
        raise typer.Exit(1) from None
    except Exception as error:
        if bad := bad_input(error):
            log.error("%s", bad)
        elif _is_disk_full(error):
            log.error(
                "%s: no space left on the disk. Free some space, or give another --workspace. Finished stages stay.",
                place,
            )
        else:
            # The message of an error from a Ray task is its whole traceback.
            cause = getattr(error, "cause", None) or error
            log.error("%s: %s", type(cause).__name__, str(cause) or "no message", exc_info=error)
            if ray_is_here():
                from longtail.runtime.ray_start import ray_logs

                log.error("Finished stages stay. Ray's logs: %s", ray_logs())
            raise typer.Exit(1) from None
        raise typer.Exit(2) from None


def _is_disk_full(error: BaseException) -> bool:
    """Whether ENOSPC caused an error, also if a Ray task gave it back as text."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOSPC or "No space left on device" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
