"""The peer of the endpoint: a deployment that reads the request and writes the same bytes to everybody."""

from typing import Any

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send


@serve.deployment(max_ongoing_requests=32, ray_actor_options={"num_cpus": 1})
@serve.ingress()
class Noop:
    """Answers with `size` bytes."""

    def __init__(self, size: int) -> None:
        self.body = b"x" * size

    def __serve_build_asgi_app__(self) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                for message in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{message}.complete"})
                return
            while (await receive()).get("more_body"):
                pass
            head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": self.body})

        return app


def noop(size: int) -> Any:
    """The application, whose answers have `size` bytes."""
    return Noop.bind(size)
