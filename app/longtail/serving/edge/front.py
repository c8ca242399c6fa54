"""What stands in Ray Serve's own HTTP server, before Ray reads a request.

Serve's proxy, and in HAProxy mode the server inside each replica, obeys two headers of the client: one sets or switches
off the timeout, the other the notice that the client has left. Both are read before any code of the application runs, so
only a layer around Serve's server takes their effect away. Ray puts `front` there because the environment variable
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it: in `longtail.runtime.cluster` and in clusters/Dockerfile.
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.edge.bodies import BodyLimit
from longtail.serving.edge.load import Pace
from longtail.serving.edge.plain_errors import ProblemResponses
from longtail.serving.edge.request_record import REQUEST_ID, accepted_id
from longtail.serving.messages.problems import MEDIA_TYPE

SERVES_OWN = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
    }
)
"""Headers by which a client could steer Serve. The last two choose a replica; we serve one model."""


def front() -> list[Middleware]:
    """What Ray calls when it starts an HTTP server. The last one is the outermost."""
    return [
        Middleware(BodyLimit),
        Middleware(ServesAnswers, Pace()),
        Middleware(ProblemResponses),
        Middleware(OwnHeaders),
    ]


class OwnHeaders:
    """Takes away the headers that steer Serve, and a request id that could break a log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            given, kept = None, []
            for name, value in scope["headers"]:
                if name == REQUEST_ID:
                    given = value
                elif name not in SERVES_OWN:
                    kept.append((name, value))
            request_id = REQUEST_ID, accepted_id(given)
            scope, send = scope | {"headers": [*kept, request_id]}, _with_header(send, request_id)
        await self.app(scope, receive, send)


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    """Adds a header to the answer if it is not there yet: Serve gives the request id to its own answers only."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if all(name.lower() != header[0] for name, _ in headers):
                message = message | {"headers": [*headers, header]}
        await send(message)

    return send_with_header


class ServesAnswers:
    """Gives Serve's own 429, when its queue is full, a Retry-After made of the depth and the pace of this server."""

    def __init__(self, app: ASGIApp, pace: Pace) -> None:
        self.app, self.pace = app, pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            return await self.app(scope, receive, send)
        pace, status = self.pace, 0

        async def send_computed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, headers = message["status"], dict(message["headers"])
                if status == 429 and headers.get(b"content-type") != MEDIA_TYPE.encode():
                    headers[b"retry-after"] = pace.retry_after.encode()
                    message = message | {"headers": list(headers.items())}
            await send(message)

        began = pace.began()
        try:
            await self.app(scope, receive, send_computed)
        finally:
            pace.ended(began, answered=200 <= status < 400)
