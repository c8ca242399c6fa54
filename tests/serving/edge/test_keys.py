"""Keys have names, are compared whole, and stand in no log, answer or metric."""

import logging

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.serving.edge.keys import ENVIRONMENT, needed_keys, read_keys
from longtail.serving.metrics import exposition, families
from tests.serving.edge.protected import KEY, KEYS, OTHER_KEY, ask, protected

QUESTION = {"history": ["i1"]}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return protected(keys=KEYS)


def status(app: FastAPI, path: str = "/v1/ask", **options: object) -> int:
    return ask(app, "POST", path, json=QUESTION, **options).status_code


def test_each_key_is_known_by_its_name(app: FastAPI) -> None:
    for name, key in (("web", KEY), ("batch", OTHER_KEY)):
        for headers in (
            {"X-API-Key": key},
            {"Authorization": f"Bearer {key}"},
            {"authorization": f"bearer  {key}"},
        ):
            assert ask(app, "POST", "/v1/ask", json=QUESTION, headers=headers).json()["key"] == name


def test_without_a_key_or_with_a_wrong_one_it_is_401(app: FastAPI) -> None:
    wrong = [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": f"{KEY}x"},
        {"X-API-Key": "web"},
        {"X-API-Key": f"web={KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"X-API-Key": KEY, "Authorization": f"Bearer {OTHER_KEY}"},
    ]
    assert [status(app, headers=headers) for headers in wrong] == [401] * len(wrong)
    refused = ask(app, "POST", "/v1/ask", json=QUESTION)
    assert refused.headers["www-authenticate"].startswith("Bearer") and refused.json()["detail"]
    assert ask(app, "GET", "/nothing").status_code == 401, "nobody without a key learns which paths there are"


@pytest.mark.parametrize(
    "query", [f"key={KEY}", f"api_key={KEY}", "access_token=x", f"anything={KEY}", f"a=1&b={KEY}"]
)
def test_a_key_in_the_query_is_401_even_with_the_right_header(app: FastAPI, query: str) -> None:
    assert status(app, f"/v1/ask?{query}") == 401
    assert status(app, f"/v1/ask?{query}", headers={"X-API-Key": KEY}) == 401


def test_probes_and_pages_are_open(app: FastAPI) -> None:
    assert ask(app, "GET", "/livez").status_code == 200
    assert ask(app, "GET", "/openapi.json").status_code == 200


def test_no_key_stands_anywhere(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for key in (KEY, "a-wrong-key-of-somebody"):
            answer = ask(app, "POST", "/v1/ask", json=QUESTION, headers={"X-API-Key": key})
            assert key not in answer.text
            assert key not in ask(app, "GET", f"/v1/items/1?x={key}", headers={"X-API-Key": KEY}).text
    ours = "".join(record.message for record in caplog.records if record.name.startswith("longtail"))
    told = ours + exposition([families("r")]).decode() + repr(read_keys({ENVIRONMENT: KEYS}))
    assert not [key for key in (KEY, OTHER_KEY, "a-wrong-key-of-somebody") if key in told]
    assert 'key="web"' in told and '"key": "web"' in told


@given(st.binary(max_size=40))
def test_only_the_keys_themselves_are_keys(presented: bytes) -> None:
    keys = read_keys({ENVIRONMENT: KEYS})
    assert keys and keys.name_of(presented) is None and keys.name_of(KEY.encode()) == "web"


def test_a_key_can_be_replaced_while_the_old_one_is_in_use() -> None:
    keys = read_keys({ENVIRONMENT: f"web={KEY}\nweb={OTHER_KEY}\n"})
    assert keys and keys.names == ("web",)
    assert keys.name_of(KEY.encode()) == keys.name_of(OTHER_KEY.encode()) == "web"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no key"),
        (KEY, "entry 1 is not NAME=KEY"),
        (f"web={KEY},Web Shop={OTHER_KEY}", "entry 2 is not NAME=KEY"),
        ("web=short", "'web'.*16 to 256"),
        (f"web={KEY},batch={KEY}", "'web' and 'batch' have the same key"),
    ],
)
def test_a_bad_variable_is_named_and_no_key_shown(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        read_keys({ENVIRONMENT: text})
    assert KEY not in str(refused.value) and OTHER_KEY not in str(refused.value)


def test_only_the_machine_itself_is_served_without_keys() -> None:
    for own in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        assert needed_keys(own, {}) is None
        assert needed_keys(own, {ENVIRONMENT: KEYS}), "keys that are there count there too"
    for others in ("0.0.0.0", "::", "10.0.0.4", "example.org", "", None):
        with pytest.raises(InputError, match=ENVIRONMENT):
            needed_keys(others, {})
        assert needed_keys(others, {ENVIRONMENT: KEYS})
