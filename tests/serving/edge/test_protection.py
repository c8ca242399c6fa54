"""The layers stand in the right order, and the description names what they may answer."""

import jsonschema
import pytest
from fastapi import FastAPI

from longtail.serving.edge.problems import MEDIA_TYPE
from longtail.serving.edge.request_metrics import REGISTRY
from tests.serving.edge.protected import KEY, KEYS, ask, protected

HUGE = {"content-length": str(1 << 30)}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/ask", HUGE, 401),
        ("GET", "/v1/ask", {}, 401),
        ("GET", "/v1/ask", {"X-API-Key": KEY}, 405),
        ("POST", "/v1/ask", {"X-API-Key": KEY} | HUGE, 415),
        ("POST", "/v1/ask", {"X-API-Key": KEY, "content-type": "application/json"} | HUGE, 413),
        ("GET", "/nothing", {"X-API-Key": KEY}, 404),
        ("GET", "/livez", {}, 200),
    ],
)
def test_who_is_refused_first(method: str, path: str, headers: dict[str, str], status: int) -> None:
    assert ask(protected(keys=KEYS), method, path, headers=headers).status_code == status


@pytest.mark.parametrize("keys", [None, KEYS])
def test_the_description_names_every_error_and_the_key(keys: str | None) -> None:
    described = ask(protected(keys=keys), "GET", "/openapi.json").json()
    post = described["paths"]["/v1/ask"]["post"]
    assert set(post["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "429", "500", "503"}
    assert set(described["paths"]["/livez"]["get"]["responses"]) & {"401", "413", "415"} == set()
    assert all(
        response["content"].keys() == {MEDIA_TYPE}
        for path in described["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    )
    assert post["responses"]["429"]["headers"].keys() == {"Retry-After"}
    assert ("security" in post) == bool(keys) and "security" not in described["paths"]["/livez"]["get"]
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_an_error_is_as_it_is_described() -> None:
    app: FastAPI = protected()
    schemas = ask(app, "GET", "/openapi.json").json()["components"]
    schema = {"$ref": "#/components/schemas/ProblemDocument", "components": schemas}
    for answer in (
        ask(app, "POST", "/v1/ask", json={"history": 1, "k": "x"}),
        ask(app, "GET", "/nothing"),
        ask(app, "GET", "/v1/fail"),
    ):
        jsonschema.validate(answer.json(), schema)


def test_the_depth_is_told() -> None:
    protected()
    assert REGISTRY.get_sample_value("longtail_in_flight") == 0
    assert REGISTRY.get_sample_value("longtail_wait_seconds") == 0
