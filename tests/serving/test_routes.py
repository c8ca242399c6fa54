"""The routes over HTTP, in this process: no Ray."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from longtail.serving.endpoint import Endpoint
from longtail.serving.routes import build
from longtail.workspace import Workspace
from tests.serving.test_recommendation import SERVING, ws  # noqa: F401


@pytest.fixture
def http(ws: Workspace) -> Iterator[TestClient]:  # noqa: F811
    with TestClient(build(Endpoint(str(ws), SERVING))) as client:
        yield client


def test_a_user_a_history_and_a_batch(http: TestClient) -> None:
    alone = http.post("/v1/recommend", json={"user_id": "u0", "k": 3}).raise_for_status().json()
    assert alone["user_known"] is True and len(alone["items"]) == 3 and alone["degraded"] is None
    both = [{"user_id": "u0", "k": 3}, {"history": ["i0", "nothing"]}]
    first, second = (
        http.post("/v1/recommend:batch", json={"requests": both}).raise_for_status().json()["answers"]
    )
    assert first["items"] == alone["items"]
    assert second["degraded"]["parts"][0]["items"] == ["nothing"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version"])
def test_what_can_be_read_can_be_asked_for_by_head(http: TestClient, path: str) -> None:
    assert http.get(path).status_code == http.head(path).status_code == 200
    assert not http.head(path).content


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, ""),
        ({"user_id": "u0", "k": 0}, 422, "/k"),
        ({"history": ["i0", 7]}, 422, "/history/1"),
        ({"user_id": "u0", "a/b": 7}, 422, "/a~1b"),
    ],
)
def test_a_fault_is_a_problem_document(http: TestClient, body: dict, status: int, pointer: str) -> None:
    answer = http.post("/v1/recommend", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert pointer in [fault["pointer"] for fault in answer.json()["faults"]]


def test_the_description(http: TestClient) -> None:
    described = http.get("/openapi.json").json()
    assert {"/v1/recommend", "/v1/recommend:batch", "/livez", "/readyz", "/version"} <= set(
        described["paths"]
    )
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]


def test_the_description_refers_to_nothing_that_is_not_there(http: TestClient) -> None:
    found = http.get("/openapi.json")
    referred = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', found.text.replace(" ", "")))
    assert referred and referred <= set(found.json()["components"]["schemas"])
    assert found.text.count("$ref") == found.text.count('"$ref":"#/components/schemas/')
