"""How much a server takes on: what it could not answer in time is refused at once, and nothing runs for ever."""

import asyncio
import math
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.messages.problems import problem

MEMORY_S = 5.0
"""Seconds of work after which an answer counts e times less. Answers come in bursts: the latest gap alone tells little."""
ALWAYS_TAKEN = 16
"""So many at a time are taken on however slow the last answers were: one slow answer, such as the first of a new
process, must not make it refuse what it could answer by now."""


class Pace:
    """How fast requests are answered here: seconds between two answers while there is something to answer.

    That is the service time divided by how many are answered side by side, so it needs no knowledge of replicas, batches
    and threads. With one request at a time it is the whole service time, so a server that was idle says too long rather
    than too short.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.interval = 0.0
        """Seconds from one answer to the next; 0 before the first one."""
        self._seconds, self._answers, self._last = 0.0, 0.0, 0.0

    def began(self) -> float:
        self.in_flight += 1
        return time.monotonic()

    def ended(self, began: float, answered: bool) -> None:
        """One that had come at `began` is gone. If it was not `answered`, it says nothing about the pace."""
        self.in_flight -= 1
        if answered:
            now = time.monotonic()
            gap = now - max(self._last, began)
            kept = math.exp(-gap / MEMORY_S)
            self._seconds, self._answers = kept * self._seconds + gap, kept * self._answers + 1
            self.interval, self._last = self._seconds / self._answers, now

    @property
    def wait(self) -> float:
        """Seconds until everything that is in flight now is answered: its depth times the interval."""
        return self.in_flight * self.interval

    @property
    def retry_after(self) -> str:
        """The value of the header Retry-After: whole seconds, at least 1."""
        return str(max(1, math.ceil(self.wait)))


class Gate:
    """Takes a request on if it can be answered before its deadline, else answers 429 with Retry-After at once.

    deadline: seconds in which answers are promised. longest: seconds after which a request that is still here ends with
    503, or with 408 if the client has not even sent all of it; whatever the client or the code inside wants.
    The paths `always` pass.
    """

    def __init__(
        self, app: ASGIApp, pace: Pace, deadline: float, longest: float, always: frozenset[str]
    ) -> None:
        self.app, self.pace, self.always = app, pace, always
        self.deadline, self.longest = deadline, longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.always:
            return await self.app(scope, receive, send)
        pace = self.pace
        if pace.in_flight >= ALWAYS_TAKEN and pace.wait > self.deadline:
            return await _too_busy(pace)(scope, receive, send)
        reading, received, status = False, False, 0

        async def receive_noted() -> Message:
            nonlocal reading, received
            reading = not received
            message = await receive()
            reading, received = False, received or not message.get("more_body", False)
            return message

        async def send_noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        began = pace.began()
        try:
            async with asyncio.timeout(self.longest) as limit:
                await self.app(scope, receive_noted, send_noted)
        except TimeoutError:
            if status or not limit.expired():
                raise
            await _too_late(reading, self.longest)(scope, receive, send)
        finally:
            pace.ended(began, answered=200 <= status < 400)


def _too_busy(pace: Pace) -> Response:
    detail = (
        f"{pace.in_flight} requests are being answered, which takes {pace.wait:.2f} s; come back after that."
    )
    return problem(429, detail, headers={"retry-after": pace.retry_after})


def _too_late(reading: bool, longest: float) -> Response:
    if reading:
        return problem(408, f"The body did not arrive within {longest:g} s.")
    return problem(503, f"There was no answer within {longest:g} s.", headers={"retry-after": "1"})
