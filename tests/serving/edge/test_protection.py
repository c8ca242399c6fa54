"""The layers stand in the right order, and the description names what they may answer."""

import jsonschema
import pytest

from longtail.serving.messages.problems import Problem
from longtail.serving.metrics import REGISTRY
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


def test_the_description_says_where_a_key_is_needed() -> None:
    described = ask(protected(keys=KEYS), "GET", "/openapi.json").json()
    assert described["components"]["securitySchemes"]["key"] == {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
    }
    assert described["paths"]["/v1/ask"]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert described["paths"]["/livez"]["get"]["security"] == []
    without = ask(protected(), "GET", "/openapi.json").json()
    assert "securitySchemes" not in without["components"] and "security" not in str(without["paths"])
    assert {"pointer", "message"} == set(without["components"]["schemas"]["Fault"]["properties"])


def test_an_error_is_as_it_is_described() -> None:
    app, schema = protected(), Problem.model_json_schema()
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
