"""A small application with the edge around it, asked without a network."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from longtail.serving.edge.keys import Keys, read_keys
from longtail.serving.edge.protection import protect
from longtail.serving.edge.request_record import current_record
from longtail.serving.messages.problems import Refused, add_problems

KEY = "a-key-of-the-web-shop"
OTHER_KEY = "another-key-for-batches"
KEYS = f"web={KEY},batch={OTHER_KEY}"


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    history: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=1000)]
    k: Annotated[int, Field(ge=1)] = 10


def bare() -> FastAPI:
    """Routes as those of the endpoint are, and some that fail."""
    app = FastAPI()
    add_problems(app)

    @app.post("/v1/ask")
    async def ask(question: Question) -> dict[str, Any]:
        record = current_record()
        record.arm, record.model_version, record.degraded = "b", "v1", (("llm", "late"),)
        return {"k": question.k, "request_id": record.request_id, "key": record.key}

    @app.get("/v1/items/{item_id}")
    async def item(item_id: str) -> dict[str, str]:
        return {"item": item_id}

    @app.put("/v1/items/{item_id}")
    async def put(item_id: str) -> dict[str, str]:
        return {"item": item_id}

    @app.get("/v1/fail")
    async def fail() -> None:
        raise RuntimeError("the secret history of somebody")

    @app.get("/v1/gone")
    async def gone() -> None:
        raise HTTPException(404, "gone for good")

    @app.get("/v1/twice")
    async def twice() -> None:
        raise Refused(409, "that is there already")

    @app.get("/v1/sleep")
    async def sleep() -> None:
        await asyncio.sleep(3600)

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    return app


def protected(
    app: FastAPI | None = None, keys: str | None = None, deadline: float = 1.0, longest: float = 5.0
) -> FastAPI:
    read: Keys | None = read_keys({"LONGTAIL_API_KEYS": keys}) if keys else None
    return protect(app or bare(), read, deadline, longest)


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request, its answer read whole."""

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
