"""The files of the explorer and of the API's page, as they are: no template, no build step, nothing from elsewhere."""

from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # a browser asks each time whether a file is still the same
}
"""With every file. A page may run, show and ask only what this service gives; Swagger UI's style has `data:` images."""

_FOLDER = "/explorer"
_OURS = ("longtail.serving.explorer", "static")
_SWAGGER_UI = ("fastapi_offline", "static")
_OF_SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js")

PATHS = frozenset(
    {"/", "/docs"}
    | {f"{_FOLDER}/{file.name}" for file in Path(__file__).with_name(_OURS[1]).iterdir()}
    | {f"{_FOLDER}/{name}" for name in _OF_SWAGGER_UI}
)
"""Both pages and all that they load. They hold no data, so they need no API key."""


def add_pages(http: FastAPI) -> None:
    """Add `/`, `/docs` and the files that they load, for GET and HEAD."""
    http.add_route("/", _explorer, include_in_schema=False)
    http.add_route("/docs", _docs, include_in_schema=False)
    http.mount(_FOLDER, _loaded)


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


@cache
def _files() -> _Files:
    """At first use: the package with Swagger UI is looked for only by a server that shows pages."""
    return _Files(packages=[_OURS, _SWAGGER_UI])


async def _explorer(request: Request) -> Response:
    return await _files().get_response("index.html", request.scope)


async def _docs(request: Request) -> Response:
    return await _files().get_response("docs.html", request.scope)


async def _loaded(scope: Scope, receive: Receive, send: Send) -> None:
    await _files()(scope, receive, send)
