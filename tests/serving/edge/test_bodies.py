"""Too large a body is refused before it is read, or as soon as it has grown too large; only JSON is read."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from longtail.serving.edge.bodies import LARGEST_BODY, BodyLimit
from tests.serving.edge.protected import ask, chunks, protected

JSON = {"content-type": "application/json"}


async def _length(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_up_to_the_limit_and_not_beyond(parts: list[bytes]) -> None:
    answer = ask(BodyLimit(_length, largest=20), "POST", "/", content=chunks(*parts))
    total = sum(map(len, parts))
    assert (answer.status_code, answer.text if total <= 20 else "") == (
        (200, str(total)) if total <= 20 else (413, "")
    )


def scope(**headers: str) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


@pytest.mark.parametrize(
    ("length", "status"), [(LARGEST_BODY + 1, 413), ("9" * 5000, 413), ("-1", 400), ("1e3", 400), ("", 400)]
)
def test_a_declared_length_is_refused_before_anything_is_read(length: object, status: int) -> None:
    sent: list[Message] = []

    async def unread() -> Message:
        raise AssertionError("the body was read")

    async def keep(message: Message) -> None:
        sent.append(message)

    asyncio.run(BodyLimit(_length)(scope(content_length=str(length)), unread, keep))
    assert sent[0]["status"] == status


def test_no_more_is_read_than_the_limit_and_one_part() -> None:
    """Nor does it matter what the application does with a client that seems to have left."""
    read, sent = 0, []

    async def endless() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    async def keep(message: Message) -> None:
        sent.append(message)

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await PlainTextResponse("whatever")(scope, receive, send)

    for app in (_length, stubborn):
        sent.clear()
        read = 0
        asyncio.run(BodyLimit(app, largest=95)(scope(), endless, keep))
        assert read == 10 and [message.get("status") for message in sent] == [413, None]


def test_a_body_that_is_small_may_fail_as_it_likes() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise RuntimeError("a fault of its own")

    async def small() -> Message:
        return {"type": "http.request", "body": b"x"}

    async def keep(message: Message) -> None:
        raise AssertionError("nothing is to be sent")

    with pytest.raises(RuntimeError, match="of its own"):
        asyncio.run(BodyLimit(failing, largest=95)(scope(), small, keep))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 200),
        ({"content-type": "Application/JSON; charset=utf-8"}, 200),
        ({"content-type": "application/vnd.shop+json"}, 200),
        ({"content-type": "application/json", "content-encoding": "identity"}, 200),
        ({}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/jsonp"}, 415),
        ({"content-type": "text/json"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
    ],
)
def test_only_json_is_read(headers: dict[str, str], status: int) -> None:
    answer = ask(protected(), "POST", "/v1/ask", content=b'{"history": []}', headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or {"accept-post", "accept-encoding"} & set(answer.headers)


def test_the_limit_stands_before_the_parser() -> None:
    body = b'{"history": ["' + b"x" * LARGEST_BODY + b'"]}'
    assert ask(protected(), "POST", "/v1/ask", content=body, headers=JSON).status_code == 413
    assert ask(protected(), "POST", "/v1/ask", content=chunks(body), headers=JSON).status_code == 413
