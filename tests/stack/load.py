"""Load at a fixed rate: every request is sent at its time, however long the others take."""

import asyncio
import time
from dataclasses import dataclass

import httpx

from tests.stack.endpoints import KEY


@dataclass
class Answer:
    status: int
    """0 if there was none at all."""
    began: float
    ended: float
    retry_after: str | None = None

    @property
    def seconds(self) -> float:
        return self.ended - self.began


async def storm(url: str, rate: float, seconds: float, work: float) -> list[Answer]:
    """The answers to `rate` requests per second, each of which asks for `work` seconds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    headers = {"X-API-Key": KEY}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:

        async def one() -> Answer:
            began = time.monotonic()
            try:
                answer = await client.post("/v1/work", json={"seconds": work})
            except httpx.TransportError:
                return Answer(0, began, time.monotonic())
            return Answer(answer.status_code, began, time.monotonic(), answer.headers.get("retry-after"))

        began, tasks = time.monotonic(), []
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(one()))
        return await asyncio.gather(*tasks)
