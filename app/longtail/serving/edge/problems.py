"""Errors over HTTP as problem documents (RFC 9457), those of FastAPI and of Ray Serve included."""

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
LONGEST_DETAIL = 4096
"""Bytes of a plain-text error that are kept as the detail of its problem document."""

log = logging.getLogger("longtail")


class Fault(BaseModel):
    """One thing that is wrong with the request."""

    pointer: str = Field(
        description="Where: a JSON pointer into the body (#/history/0), or query:NAME, path:NAME, header:NAME."
    )
    message: str


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field("about:blank", description="about:blank: the status says all that a program needs.")
    title: str = Field(description="The name of the status.")
    status: int
    detail: str | None = Field(None, description="What is wrong in this request, and how to mend it.")
    faults: list[Fault] = Field([], description="Every fault of the request, if there are several.")


class Problem(Exception):
    """An error that is answered as a problem document. It may be raised anywhere below the edge."""

    def __init__(
        self,
        status: int,
        detail: str,
        faults: Iterable[Fault] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.faults, self.headers = status, detail, list(faults), headers or {}

    def response(self) -> Response:
        document = ProblemDocument(
            title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, faults=self.faults
        )
        # Escaped to ASCII, since a name in a request may hold half a surrogate pair, which UTF-8 has no bytes for.
        body = json.dumps(document.model_dump(exclude_defaults=True) | {"type": document.type})
        return Response(body, self.status, {"cache-control": "no-store"} | self.headers, MEDIA_TYPE)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.response()(scope, receive, send)


def handle_errors(app: FastAPI) -> None:
    """Make `app` answer its own 404, 405, 422 and every HTTPException with a problem document."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, str(error.detail), headers=dict(error.headers or {})).response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return invalid(error.errors()).response()


def invalid(errors: Iterable[dict[str, Any]]) -> Problem:
    """What pydantic found wrong, without the input, which may hold a history. 400 if the body is no JSON at all."""
    errors = list(errors)
    if broken := next((one for one in errors if one["type"] == "json_invalid"), None):
        return Problem(
            400, f"the body is not JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}"
        )
    faults = [Fault(pointer=pointer(one["loc"]), message=one["msg"]) for one in errors]
    return Problem(422, "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults), faults)


def pointer(place: Iterable[str | int]) -> str:
    """The place of a fault, as pydantic tells it: a JSON pointer (RFC 6901) into the body, or a parameter's name."""
    kind, *steps = map(str, place)
    if kind != "body":
        return ":".join([kind, *steps])
    return "#" + "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


class ProblemResponses:
    """Turns every error that is no problem document yet into one, and an unforeseen exception into a 500.

    What Ray Serve answers by itself (429, 503, 408) is plain text, and so is an error of mounted files.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start: Message | None = None
        text, begun, plain = bytearray(), False, True

        async def send_problem(message: Message) -> None:
            nonlocal start, begun, plain
            if message["type"] == "http.response.start":
                kind = _content_type(message)
                if message["status"] >= 400 and not kind.startswith(MEDIA_TYPE.encode()):
                    start, plain = message, kind.startswith(b"text/plain")
                    return
            elif start is not None:
                text.extend(message.get("body", b"")[: LONGEST_DETAIL - len(text)])
                if not message.get("more_body", False):
                    begun = True
                    await _rewritten(start, bytes(text) if plain else b"").answer(scope, receive, send)
                return
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_problem)
        except Exception as error:
            if isinstance(error, Problem) and not begun:
                return await error.answer(scope, receive, send)
            # The message of an exception may quote the request, so only its kind and place are told.
            frame = error.__traceback__
            while frame and frame.tb_next:
                frame = frame.tb_next
            place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "?"
            log.error("%s %s: %s at %s", scope["method"], scope["path"], type(error).__name__, place)
            if begun:
                raise
            await Problem(500, "the server made a mistake; its log says which").answer(scope, receive, send)


def _rewritten(start: Message, text: bytes) -> Problem:
    """The problem document of an error in plain text, with the headers of that error, such as Allow and Retry-After."""
    kept = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in start["headers"]
        if name not in (b"content-type", b"content-length")
    }
    status = start["status"]
    detail = (
        "the server made a mistake; its log says which" if status == 500 else text.decode(errors="replace")
    )
    return Problem(status, detail or HTTPStatus(status).phrase, headers=kept)


def _content_type(message: Message) -> bytes:
    return next((value for name, value in message["headers"] if name.lower() == b"content-type"), b"")
