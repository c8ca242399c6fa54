"""The edge over real HTTP, in both modes of Ray Serve: what a client sends gains nothing, and every answer is ours."""

import time
from collections.abc import Iterator

import httpx
import pytest

from longtail.serving.edge.front import SERVES_OWN
from longtail.serving.messages.problems import MEDIA_TYPE
from tests.stack.endpoints import KEY, Served, slow_endpoint
from tests.stack.slow_endpoint import LONGEST_S

FOR_EVER = {"x-request-timeout-seconds": "0", "x-request-disconnect-disabled": "?1"}


@pytest.fixture(scope="module", params=["proxy", pytest.param("haproxy", marks=pytest.mark.faults)])
def slow(request: pytest.FixtureRequest) -> Iterator[Served]:
    with slow_endpoint("--mode", request.param, "--replicas", 2) as endpoint:
        yield endpoint


@pytest.fixture
def http(slow: Served) -> Iterator[httpx.Client]:
    with slow.client() as client:
        yield client


def problem(answer: httpx.Response, status: int) -> dict:
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE), answer.text
    assert answer.json()["status"] == status
    return answer.json()


def left(slow: Served) -> float:
    """How many clients were seen leaving."""
    return sum(slow.metric("longtail_requests_total", route="/v1/work", status="499").values())


def ended_early(http: httpx.Client, slow: Served, headers: dict[str, str]) -> bool:
    """Whether the server notices that the client has left before it gives up by itself."""
    before, began = left(slow), time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/work", json={"seconds": 100}, headers=headers, timeout=LONGEST_S / 2)
    while left(slow) == before and time.monotonic() - began < LONGEST_S + 2:
        time.sleep(0.1)
    return left(slow) > before


def test_a_client_cannot_set_the_timeout(http: httpx.Client) -> None:
    """Neither shorter, so that Serve answers 408, nor none at all."""
    short = {"x-request-timeout-seconds": "0.05"}
    assert http.post("/v1/work", json={"seconds": 0.5}, headers=short).status_code == 200
    problem(http.post("/v1/work", json={"seconds": 100}, headers=FOR_EVER), 503)


def test_a_client_cannot_hide_that_it_has_left(
    http: httpx.Client, slow: Served, request: pytest.FixtureRequest
) -> None:
    early = ended_early(http, slow, FOR_EVER)
    if request.node.callspec.params["slow"] == "proxy":
        assert early and ended_early(http, slow, {})
    # HAProxy tells a replica late that a client has left, or never: there it ends when the time of a request is over.
    assert sum(slow.metric("longtail_in_flight").values()) <= 1, "only who asks for the metrics is here"


def test_the_application_does_not_see_what_steers_serve(http: httpx.Client) -> None:
    sent = FOR_EVER | {"serve_multiplexed_model_id": "one", "x-mine": "2"}
    seen = http.get("/v1/headers", headers=sent).raise_for_status().json()
    assert "x-mine" in seen and not SERVES_OWN & {name.encode() for name in seen}


def test_no_header_breaks_the_server(http: httpx.Client) -> None:
    for name in ("x-request-timeout-seconds", "x-request-id", "serve_multiplexed_model_id", "x-api-key"):
        answer = http.post("/v1/work", json={}, headers={name: b"\xff\xfe"})
        assert answer.status_code == (401 if name == "x-api-key" else 200), name


def test_the_request_id_goes_in_and_comes_out_once(http: httpx.Client) -> None:
    answer = http.post("/v1/work", json={}, headers={"x-request-id": "shop-17"})
    assert answer.headers.get_list("x-request-id") == ["shop-17"]
    made = http.post("/v1/work", json={}, headers={"x-request-id": "a b"}).headers.get_list("x-request-id")
    assert len(made) == 1 and made != ["a b"]


def test_keys(http: httpx.Client, slow: Served) -> None:
    with httpx.Client(base_url=slow.url) as stranger:
        assert stranger.get("/livez").status_code == 200
        for headers in (
            {},
            {"x-api-key": "wrong"},
            {"x-api-key": KEY[:-1]},
            {"authorization": f"Basic {KEY}"},
        ):
            problem(stranger.post("/v1/work", json={}, headers=headers), 401)
        assert (
            stranger.post("/v1/work", json={}, headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        )
    problem(http.post(f"/v1/work?key={KEY}", json={}), 401)
    assert sum(slow.metric("longtail_requests_total", key="test", status="200").values()) > 0


def test_large_bodies_are_refused(http: httpx.Client) -> None:
    json = {"content-type": "application/json"}
    part = b"x" * (1 << 20)
    problem(http.post("/v1/work", content=part + b"x", headers=json), 413)
    for parts in (2, 100):
        problem(http.post("/v1/work", content=(part for _ in range(parts)), headers=json), 413)
    assert http.post("/v1/work", json={"padding": "x" * 900_000}).status_code == 200


def test_errors_are_problem_documents(http: httpx.Client) -> None:
    problem(http.get("/nothing"), 404)
    assert problem(http.delete("/v1/work"), 405) and http.delete("/v1/work").headers["allow"] == "POST"
    problem(http.post("/v1/work", content=b"{", headers={"content-type": "application/json"}), 400)
    problem(http.post("/v1/work", content=b"a=1"), 415)
    assert problem(http.post("/v1/work", json={"seconds": "x"}), 422)["faults"][0]["pointer"] == "/seconds"
    head = http.head("/livez")
    assert (head.status_code, head.content) == (200, b"") and int(head.headers["content-length"]) > 0


def test_one_scrape_tells_of_every_replica(slow: Served) -> None:
    memory = slow.metric("process_resident_memory_bytes")
    assert len(memory) == 2 and all(value > 1e7 for value in memory.values())
    before = sum(slow.metric("longtail_requests_total", route="/v1/work").values())
    with slow.client() as http:
        for _ in range(10):
            http.post("/v1/work", json={})
    assert sum(slow.metric("longtail_requests_total", route="/v1/work").values()) == before + 10


@pytest.mark.faults
def test_without_the_front_our_own_deadline_holds_all_the_same() -> None:
    """A cluster whose nodes lack the variable: Serve obeys the client, and the replica still does not."""
    with slow_endpoint("--without-front") as slow, slow.client() as http:
        short = http.post("/v1/work", json={"seconds": 1}, headers={"x-request-timeout-seconds": "0.05"})
        assert short.status_code == 408, (
            "Serve obeys this header; if it does not any more, the front is not needed"
        )
        problem(http.post("/v1/work", json={"seconds": 100}, headers=FOR_EVER), 503)
