"""What is known of a request while it is answered: for its line in the log and for the metrics."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.messages.answer_messages import Recommendation

REQUEST_ID = b"x-request-id"
CLIENT_LEFT = 499
"""The status that is counted if nobody waits for the answer any more, as Ray Serve and nginx call it."""

_ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(slots=True)
class RequestRecord:
    """One request. Nothing in it says what the user took: no user, no history, no key, no address."""

    request_id: str
    method: str
    arrived: float = field(default_factory=time.monotonic)
    """Seconds of `time.monotonic` when it reached this replica."""
    route: str = "none"
    """The template of its path, such as /v1/items/{item_id}/similar; `none` if there is no such path."""
    key: str = "none"
    """The name of its key."""
    status: int = 0
    arm: str = "none"
    model_version: str = "none"
    degraded: tuple[tuple[str, str], ...] = ()
    """Part and reason of everything that the answer went without."""

    def note(self, answers: Sequence[Recommendation]) -> None:
        """Note what the answers were made from. They are all from one version."""
        arms = {answer.arm for answer in answers}
        self.arm = arms.pop() if len(arms) == 1 else "several"
        self.model_version = answers[0].model_version
        self.degraded = tuple(
            (missing.part, missing.reason)
            for answer in answers
            if answer.degraded
            for missing in answer.degraded.parts
        )

    @property
    def elapsed(self) -> float:
        """Seconds since it arrived, the time in which it waited included."""
        return time.monotonic() - self.arrived


_CURRENT: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)


def current_record() -> RequestRecord:
    """The record of the request that is being answered. Outside of a request it is a new one, which nobody reads."""
    return _CURRENT.get() or RequestRecord("none", "none")


def accepted_id(value: bytes | None) -> bytes:
    """The client's request id if it is short and harmless in a log, else a new one."""
    return value if value and _ACCEPTED.fullmatch(value) else uuid.uuid4().hex.encode()


class Recorder:
    """Opens the record of every request, and hands it to the `readers` when the request has ended."""

    def __init__(self, app: ASGIApp, readers: tuple[Callable[[RequestRecord], None], ...]) -> None:
        self.app, self.readers = app, readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID), None)
        record = RequestRecord(accepted_id(given).decode(), scope["method"])
        token = _CURRENT.set(record)

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_recorded)
        except asyncio.CancelledError:
            record.status = CLIENT_LEFT
            raise
        except Exception:
            record.status = record.status or 500
            raise
        finally:
            _CURRENT.reset(token)
            for read in self.readers:
                read(record)
