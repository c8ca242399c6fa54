"""Errors that are no problem documents yet become ones: those of Ray Serve, of mounted files, and our mistakes."""

import logging
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.messages.problems import MEDIA_TYPE, problem

LONGEST_DETAIL = 4096
"""Bytes of a plain-text error that are kept as the detail of its problem document."""
OUR_MISTAKE = "The server made a mistake; its log says which."

log = logging.getLogger("longtail")


class ProblemResponses:
    """Turns every error that is no problem document into one, and an unforeseen exception into a 500.

    What Ray Serve answers by itself (429, 503, 408) is plain text, and so is an error of mounted files.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        error: Message | None = None
        text, begun = bytearray(), False

        async def send_problem(message: Message) -> None:
            nonlocal error, begun
            if message["type"] == "http.response.start" and _is_plain(message):
                error = message
            elif error is not None:
                text.extend(message.get("body", b"")[: LONGEST_DETAIL - len(text)])
                if not message.get("more_body", False):
                    begun = True
                    await _rewritten(error, bytes(text))(scope, receive, send)
            else:
                begun = True
                await send(message)

        try:
            await self.app(scope, receive, send_problem)
        except Exception as mistake:
            # The message of an exception may quote the request, so only its kind and its place are told.
            frame = mistake.__traceback__
            while frame and frame.tb_next:
                frame = frame.tb_next
            place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "?"
            log.error("%s in %s %s", type(mistake).__name__, scope["method"], place)
            if begun:
                raise
            await problem(500, OUR_MISTAKE)(scope, receive, send)


def _is_plain(message: Message) -> bool:
    return message["status"] >= 400 and not _content_type(message).startswith(MEDIA_TYPE.encode())


def _rewritten(error: Message, text: bytes) -> Response:
    """The problem document of a plain error, with its headers, such as Allow and Retry-After."""
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in error["headers"]
        if name.lower() not in (b"content-type", b"content-length")
    }
    status = error["status"]
    said = text.decode(errors="replace") if _content_type(error).startswith(b"text/plain") else ""
    return problem(
        status, OUR_MISTAKE if status == 500 else said or HTTPStatus(status).phrase, headers=headers
    )


def _content_type(message: Message) -> bytes:
    return next((value for name, value in message["headers"] if name.lower() == b"content-type"), b"")
