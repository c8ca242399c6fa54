"""HEAD where GET is, every allowed method in 405, and the template of a path rather than the path."""

import pytest
from fastapi import FastAPI

from longtail.serving.edge.request_routes import known_paths
from tests.serving.edge.protected import ask, bare, protected


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return protected()


@pytest.mark.parametrize("path", ["/livez", "/v1/items/7", "/openapi.json"])
def test_head_is_get_without_the_body(app: FastAPI, path: str) -> None:
    got, head = ask(app, "GET", path), ask(app, "HEAD", path)
    assert head.status_code == got.status_code == 200
    assert head.content == b"" and got.content
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/ask", "GET", "POST"),
        ("/v1/ask", "HEAD", "POST"),
        ("/v1/ask", "TRACE", "POST"),
        ("/livez", "POST", "GET, HEAD"),
        ("/v1/items/7", "POST", "GET, HEAD, PUT"),
        ("/v1/items/7", "OPTIONS", "GET, HEAD, PUT"),
    ],
)
def test_405_names_every_method_that_is_allowed(app: FastAPI, path: str, method: str, allowed: str) -> None:
    answer = ask(app, method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_templates_and_not_paths() -> None:
    app = bare()
    app.mount("/files", FastAPI())
    found = {path.template: path.methods for path in known_paths(app.routes)}
    assert found["/v1/items/{item_id}"] == {"GET", "HEAD", "PUT"}
    assert found["/files/*"] == set() and found["/v1/ask"] == {"POST"}


def test_mounted_files_take_what_they_take() -> None:
    inner = FastAPI()
    inner.add_api_route("/a", lambda: "a", methods=["GET"])
    app = bare()
    app.mount("/files", inner)
    protected(app)
    assert ask(app, "GET", "/files/a").json() == "a"
    assert ask(app, "GET", "/files/b").status_code == 404
