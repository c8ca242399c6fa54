"""Before Ray reads a request, what could steer Ray is taken away, and what Ray refuses becomes ours."""

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve._private.http_util import (
    RequestIdMiddleware,
    parse_disconnect_disabled_header,
    parse_request_timeout_header,
    validate_http_proxy_callback_return,
)
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from longtail.runtime.cluster import SERVE_ENVIRONMENT
from longtail.serving.edge.front import ServesAnswers, front
from longtail.serving.edge.load import Pace
from longtail.serving.messages.problems import problem
from tests.conftest import ROOT
from tests.serving.edge.protected import ask


async def serve_reads(scope: Scope, receive: Receive, send: Send) -> None:
    """What Serve's server would read out of the headers."""
    headers = dict(scope["headers"])
    found = {
        "timeout": parse_request_timeout_header(headers, 5.0),
        "stays": parse_disconnect_disabled_header(headers),
        "request_id": headers[b"x-request-id"].decode(),
        "others": sorted(name.decode("latin-1") for name in headers if name.startswith((b"x-", b"serve"))),
    }
    await JSONResponse(found)(scope, receive, send)


def in_front(app: ASGIApp) -> ASGIApp:
    """As Ray does it: its own middleware is the innermost."""
    app = RequestIdMiddleware(app)
    for middleware in validate_http_proxy_callback_return(front()):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app


def asked(**headers: str) -> httpx.Response:
    return ask(
        in_front(serve_reads), "GET", "/", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_ray_would_obey_these_headers_without_the_front() -> None:
    headers = {"x-request-timeout-seconds": "0", "x-request-disconnect-disabled": "?1", "x-request-id": "a"}
    obeyed = ask(serve_reads, "GET", "/", headers=headers).json()
    assert (obeyed["timeout"], obeyed["stays"]) == (None, True)


@given(st.sampled_from(["0", "-1", "1e9", "inf", "nan", "9999", ""]), st.sampled_from(["?1", "?0", "true"]))
def test_with_the_front_they_have_no_effect(seconds: str, stays: str) -> None:
    found = asked(
        X_Request_Timeout_Seconds=seconds,
        x_request_disconnect_disabled=stays,
        x_other="1",
        x_request_id="mine",
    ).json()
    assert (found["timeout"], found["stays"]) == (5.0, False)
    assert found["others"] == ["x-other", "x-request-id"]


@pytest.mark.parametrize("spelling", ["serve_multiplexed_model_id", "Serve-Multiplexed-Model-Id"])
def test_nobody_chooses_a_replica(spelling: str) -> None:
    found = ask(in_front(serve_reads), "GET", "/", headers={spelling: "b"}).json()
    assert found["others"] == ["x-request-id"]


def test_the_request_id_goes_in_and_comes_out_once() -> None:
    answer = asked(x_request_id="of-the-shop")
    assert answer.json()["request_id"] == "of-the-shop"
    assert answer.headers.get_list("x-request-id") == ["of-the-shop"]
    for sent in ({}, {"x_request_id": "a b"}):
        answer = asked(**sent)
        assert answer.headers.get_list("x-request-id") == [answer.json()["request_id"]]
        assert len(answer.json()["request_id"]) == 32
    refused = ask(
        in_front(serve_reads), "POST", "/", headers={"content-length": "9999999", "x-request-id": "big"}
    )
    assert (refused.status_code, refused.headers["x-request-id"]) == (413, "big")


def _refusing(pace: Pace, answer: Callable[[], ASGIApp]) -> httpx.Response:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await answer()(scope, receive, send)

    return ask(ServesAnswers(refuse, pace), "GET", "/v1/recommend")


def test_a_full_queue_of_serve_says_when_it_will_be_empty() -> None:
    pace = Pace()
    pace.in_flight, pace.interval = 59, 0.1
    refused = _refusing(pace, lambda: PlainTextResponse("dropped", 429, {"retry-after": "1"}))
    assert refused.headers["retry-after"] == "6" and pace.in_flight == 59
    ours = _refusing(pace, lambda: problem(429, "busy", headers={"retry-after": "2"}))
    assert ours.headers["retry-after"] == "2", "the replica's own answer knows better"


def test_ray_finds_the_front_where_the_variable_says() -> None:
    from ray._common.utils import import_attr

    assert import_attr(SERVE_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]) is front


@pytest.mark.parametrize("variable", SERVE_ENVIRONMENT)
def test_serve_reads_the_variable_and_the_image_has_it(variable: str) -> None:
    from ray.serve._private import constants

    assert hasattr(constants, variable)
    assert f"ENV {variable}={SERVE_ENVIRONMENT[variable]}\n" in (ROOT / "clusters/Dockerfile").read_text()
