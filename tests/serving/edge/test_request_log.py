"""A line for each request: whole JSON, with what an operator needs and nothing of what a user took."""

import json
import logging
import re

import pytest

from longtail.serving.edge.request_log import line
from longtail.serving.edge.request_record import RequestRecord, accepted_id, current_record
from longtail.serving.messages.answer_messages import Degraded, Missing, Recommendation
from tests.serving.edge.protected import KEY, KEYS, ask, protected


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("longtail.requests"), "propagate", True)
    caplog.set_level(logging.INFO, "longtail.requests")
    return caplog


def told(lines: pytest.LogCaptureFixture) -> list[dict]:
    return [json.loads(record.message) for record in lines.records if record.name == "longtail.requests"]


def test_a_request_is_one_line(lines: pytest.LogCaptureFixture) -> None:
    app = protected(keys=KEYS)
    lines.clear()
    headers = {"X-API-Key": KEY, "X-Request-ID": "from-the-shop-17"}
    answer = ask(app, "POST", "/v1/ask", json={"history": ["somebody-took-this"]}, headers=headers)
    assert answer.json()["request_id"] == "from-the-shop-17"
    (found,) = told(lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert 0 < found.pop("took_ms") < 60_000
    assert found == {
        "request_id": "from-the-shop-17",
        "method": "POST",
        "route": "/v1/ask",
        "status": 200,
        "key": "web",
        "arm": "b",
        "model_version": "v1",
        "degraded": ["llm: late"],
    }


def test_no_line_tells_what_somebody_took_or_asked_with(lines: pytest.LogCaptureFixture) -> None:
    app = protected(keys=KEYS)
    lines.clear()
    headers = {"X-API-Key": KEY}
    ask(app, "POST", "/v1/ask", json={"history": ["somebody-took-this"]}, headers=headers)
    ask(app, "POST", "/v1/ask", json={"history": "somebody-took-this"}, headers=headers)
    ask(app, "GET", "/v1/items/somebody-took-this?q=somebody-took-this", headers=headers)
    ask(app, "GET", "/somebody-took-this", headers=headers)
    assert len(told(lines)) == 4 and "somebody-took-this" not in lines.text


def test_a_mistake_is_a_warning(lines: pytest.LogCaptureFixture) -> None:
    app = protected()
    lines.clear()
    ask(app, "GET", "/v1/fail")
    (record,) = (record for record in lines.records if record.name == "longtail.requests")
    assert record.levelno == logging.WARNING and json.loads(record.message)["status"] == 500


def test_the_time_is_utc() -> None:
    assert json.loads(line(RequestRecord("i", "GET"), 1_700_000_000.25))["time"] == "2023-11-14T22:13:20.250Z"


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"a\nb", b'"}{', "é".encode(), b"a b"])
def test_a_request_id_that_could_break_a_log_is_replaced(given: bytes | None) -> None:
    made = accepted_id(given)
    assert re.fullmatch(rb"[0-9a-f]{32}", made) and made != accepted_id(given)


def test_what_an_answer_was_made_from_is_noted() -> None:
    example = Recommendation.model_config["json_schema_extra"]["examples"][0]
    whole = Recommendation.model_validate(example)
    late = Missing(part="llm", reason="late", stood_in="nothing")
    partly = whole.model_copy(update={"arm": "b", "degraded": Degraded(parts=[late, late])})
    record = RequestRecord("i", "POST")
    record.note([whole])
    assert (record.arm, record.model_version, record.degraded) == (whole.arm, whole.model_version, ())
    record.note([partly, whole])
    assert (record.arm, record.degraded) == ("several", (("llm", "late"), ("llm", "late")))


def test_outside_of_a_request_nothing_is_kept() -> None:
    current_record().arm = "b"
    assert current_record().arm == "none"
