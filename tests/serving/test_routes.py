"""The routes over HTTP, in this process: no Ray."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.routes import build


@pytest.fixture
def http(here: Endpoint) -> Iterator[TestClient]:
    with TestClient(build(here)) as client:
        yield client


def test_a_user_a_history_and_a_batch(http: TestClient) -> None:
    alone = http.post("/v1/recommend", json={"user_id": "u1", "k": 3}).raise_for_status().json()
    assert alone["user_known"] is True and alone["items"] and alone["degraded"] is None
    both = [{"user_id": "u1", "k": 3}, {"history": ["i0", "nothing"], "explain": True}]
    answer = http.post("/v1/recommend:batch", json={"requests": both}).raise_for_status().json()
    first, second = answer["answers"]
    assert first["items"] == alone["items"]
    assert second["degraded"]["parts"][0]["items"] == ["nothing"]
    assert second["items"][0]["why"]["how"] == "neighbours"


def test_items(http: TestClient) -> None:
    assert http.get("/v1/items/i0/similar", params={"k": 1}).json()["items"][0]["item_id"]
    assert http.get("/v1/items/none/similar").status_code == 404
    assert http.get("/v1/items/a%2Fb/similar").json()["detail"] == "The catalogue has no such item."
    assert http.get("/v1/items/i0/similar", params={"k": 0}).status_code == 422
    assert http.get("/v1/titles", params={"prefix": "title 4"}).json()["items"][0]["item_id"] == "i4"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version"])
def test_what_operators_ask(http: TestClient, path: str) -> None:
    assert http.get(path).raise_for_status().json()


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, ""),
        ({"user_id": "u0", "k": 0}, 422, "/k"),
        ({"user_id": "u0", "k": 101}, 422, "/k"),
        ({"user_id": "u0", "k": 2.5}, 422, "/k"),
        ({"history": ["i0", 7]}, 422, "/history/1"),
        ({"user_id": "u0", "a/b": 7}, 422, "/a~1b"),
        ({"history": ["i0"] * 5001}, 422, "/history"),
        ({"user_id": "u0", "filter": {"genres": []}}, 422, "/filter/genres"),
        ({"user_id": "u0", "filter": {"genre": ["War"]}}, 409, "/filter/genre"),
        ([1], 422, ""),
    ],
)
def test_a_fault_is_a_problem_document(http: TestClient, body: object, status: int, pointer: str) -> None:
    answer = http.post("/v1/recommend", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert pointer in [fault["pointer"] for fault in answer.json()["faults"]]


def test_the_longest_history_is_answered(http: TestClient) -> None:
    assert http.post("/v1/recommend", json={"history": ["i0", "x"] * 2500}).json()["interactions"] == 2500


def test_the_description_has_every_route_and_bound(http: TestClient) -> None:
    described = http.get("/openapi.json").json()
    assert {
        "/v1/recommend",
        "/v1/recommend:batch",
        "/v1/items/{item_id}/similar",
        "/v1/titles",
        "/livez",
        "/readyz",
        "/version",
    } <= set(described["paths"])
    request = described["components"]["schemas"]["RecommendRequest"]
    assert request["examples"] and request["properties"]["k"]["maximum"] == 100
    for path in described["paths"].values():
        for method in path.values():
            assert set(method["responses"]) > {"200"} and method["description"]


def test_the_description_refers_to_nothing_that_is_not_there(http: TestClient) -> None:
    found = http.get("/openapi.json")
    referred = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', found.text.replace(" ", "")))
    assert referred and referred <= set(found.json()["components"]["schemas"])
    assert found.text.count("$ref") == found.text.count('"$ref":"#/components/schemas/')
