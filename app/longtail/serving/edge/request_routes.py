"""Which path a request asks for and how: HEAD where GET is, 405 with every allowed method, 415 where a body is read."""

import re
from dataclasses import dataclass

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longtail.serving.edge.bodies import not_json
from longtail.serving.edge.request_record import current_record
from longtail.serving.messages.problems import problem


@dataclass
class KnownPath:
    """A path of the application: its template, and the methods that it takes; none if it is mounted files."""

    template: str
    pattern: re.Pattern[str]
    methods: set[str]


def known_paths(routes: list[BaseRoute]) -> list[KnownPath]:
    """Every path once, with the methods of all its routes, in the order in which the application looks at them."""
    found: dict[str, KnownPath] = {}
    for route in routes:
        if isinstance(route, Mount):
            found.setdefault(route.path, KnownPath(f"{route.path}/*", route.path_regex, set()))
        elif isinstance(route, Route):
            path = found.setdefault(route.path, KnownPath(route.path_format, route.path_regex, set()))
            path.methods |= route.methods or set()
    for path in found.values():
        path.methods |= {"HEAD"} if "GET" in path.methods else set()
    return list(found.values())


class Methods:
    """Notes the template of the path, answers HEAD as GET without the body, and refuses other methods and media types."""

    def __init__(self, app: ASGIApp, routes: list[BaseRoute]) -> None:
        self.app = app
        paths = known_paths(routes)
        self._fixed = {path.template: path for path in paths if path.methods and "{" not in path.template}
        self._others = [path for path in paths if path.template not in self._fixed]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._find(scope["path"]) if scope["type"] == "http" else None
        if path is None:
            return await self.app(scope, receive, send)
        current_record().route = path.template
        method = scope["method"]
        if path.methods:
            if method not in path.methods:
                allowed = ", ".join(sorted(path.methods))
                refusal = problem(405, f"{path.template} takes {allowed}.", headers={"allow": allowed})
                return await refusal(scope, receive, send)
            if method == "POST" and (refusal := not_json(scope["headers"])):
                return await refusal(scope, receive, send)
            if method == "HEAD":
                return await self.app(scope | {"method": "GET"}, receive, _without_body(send))
        await self.app(scope, receive, send)

    def _find(self, path: str) -> KnownPath | None:
        return self._fixed.get(path) or next((one for one in self._others if one.pattern.match(path)), None)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = message | {"body": b""}
        await send(message)

    return send_head
