"""Every error is a problem document that says what and where, and never what the user took."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from longtail.serving.edge.plain_errors import ProblemResponses
from longtail.serving.messages.problems import MEDIA_TYPE
from tests.serving.edge.protected import ask, bare, protected


def problem(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found = answer.json()
    assert found["status"] == status and found["type"] == "about:blank" and found["title"]
    return found


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return protected()


def test_those_of_fastapi(app: FastAPI) -> None:
    assert problem(ask(app, "GET", "/nothing"), 404)["title"] == "Not Found"
    assert problem(ask(app, "GET", "/v1/gone"), 404)["detail"] == "gone for good"
    assert problem(ask(app, "GET", "/v1/twice"), 409)["detail"] == "that is there already"
    assert "POST" in problem(ask(app, "GET", "/v1/ask"), 405)["detail"]


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"k": }', b"{'k': 1}"])
def test_what_is_no_json(app: FastAPI, body: bytes) -> None:
    problem(ask(app, "POST", "/v1/ask", content=body, headers={"content-type": "application/json"}), 400)


def test_a_mistake_of_ours_is_500_and_does_not_tell_what_it_was(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(app, "GET", "/v1/fail")
    assert "secret" not in str(problem(answer, 500)) and "secret" not in caplog.text
    assert "RuntimeError" in caplog.text and "protected.py" in caplog.text


async def _refused(scope: Scope, receive: Receive, send: Send) -> None:
    text = "Request dropped due to backpressure"
    await PlainTextResponse(text, 429, {"retry-after": "3"})(scope, receive, send)


async def _crashed(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("RayTaskError: history = ['i7']", 500)(scope, receive, send)


def test_a_plain_error_of_serve_becomes_a_problem_with_its_headers() -> None:
    answer = ask(ProblemResponses(_refused), "GET", "/")
    assert problem(answer, 429)["detail"] == "Request dropped due to backpressure"
    assert answer.headers["retry-after"] == "3"
    assert "i7" not in str(problem(ask(ProblemResponses(_crashed), "GET", "/"), 500))


def test_what_is_no_error_passes_as_it_is() -> None:
    answer = ask(ProblemResponses(bare()), "GET", "/v1/items/7")
    assert answer.json() == {"item": "7"}
