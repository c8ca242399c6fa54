"""What a body may be: JSON, and not larger than the limit."""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.messages.problems import problem

LARGEST_BODY = 1 << 20
"""Bytes. Ray Serve's proxy holds all of a body in memory, and leaked it above 10 MB (ray-project/ray #56361)."""


class BodyLimit:
    """413 for a body over the limit: by its declared length before anything is read, else as soon as it has grown so far.

    Starlette's own limit raises an exception out of `receive`. Ray Serve's proxy, where this one stands too, reads the
    body in a task of its own and would take that for a client that has left.
    """

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit():
            return await problem(400, "Content-Length is not a number.")(scope, receive, send)
        if len(declared) > 18 or int(declared) > self.largest:
            return await self._too_large()(scope, receive, send)
        got, begun, over = 0, False, False

        async def receive_counted() -> Message:
            nonlocal got, over
            message = await receive()
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                if got > self.largest:
                    over = True
                    return {"type": "http.disconnect"}
            return message

        async def send_unless_over(message: Message) -> None:
            nonlocal begun
            if not over:
                begun = True
                await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_over)
        except Exception:
            if not over:  # else it says that the client has left, as we made it believe
                raise
        if over and not begun:
            await self._too_large()(scope, receive, send)

    def _too_large(self) -> Response:
        return problem(413, f"A body may have {self.largest:,} bytes at most.")


def not_json(headers: list[tuple[bytes, bytes]]) -> Response | None:
    """415 if a request's headers do not say that its body is JSON as it is; None if they do."""
    kind = encoding = b""
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return problem(
            415,
            "Send JSON, with content-type: application/json.",
            headers={"accept-post": "application/json"},
        )
    if encoding not in (b"", b"identity"):
        return problem(
            415, "Send the body as it is, not compressed.", headers={"accept-encoding": "identity"}
        )
    return None
