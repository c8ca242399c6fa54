"""A closed loop of HTTP clients: each sends its next request as soon as the last one is answered.

It is one process with one event loop on bare sockets, so that on a machine with few cores the clients cost little. Requests
are made before the clock starts.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np


@dataclass
class Load:
    """What the clients saw. seconds: the latency of every answer; wall: from the first request to the last answer."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    bytes_in: int = 0
    wall: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall

    def quantile(self, q: float) -> float:
        """Seconds within which the share `q` of all answers came."""
        return float(np.quantile(self.seconds, q))


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of a POST request with a JSON body. headers: more lines, each with its line end."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def drive(port: int, requests: list[bytes], clients: int, seconds: float) -> Load:
    """Send `requests` in turn, over and over, on `clients` kept connections for this many seconds."""
    return asyncio.run(_drive(port, requests, clients, seconds))


async def _drive(port: int, requests: list[bytes], clients: int, seconds: float) -> Load:
    load, source, loop = Load(), cycle(requests), asyncio.get_running_loop()
    began = time.perf_counter()
    ends = began + seconds
    connections = [
        await loop.create_connection(lambda: _Client(source, load, ends), "127.0.0.1", port)
        for _ in range(clients)
    ]
    await asyncio.gather(*(client.done for _, client in connections))
    load.wall = time.perf_counter() - began
    for transport, _ in connections:
        transport.close()
    return load


class _Client(asyncio.Protocol):
    """One connection, with one request at a time. It reads answers that have a content-length."""

    def __init__(self, source: "cycle[bytes]", load: Load, ends: float) -> None:
        self.source, self.load, self.ends = source, load, ends
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lines = bytes(self.buffer[:head]).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        if len(self.buffer) < head + 4 + length:
            return
        self.load.seconds.append(time.perf_counter() - self.sent)
        self.load.statuses[int(lines[0].split()[1])] += 1
        self.load.bytes_in += length
        del self.buffer[: head + 4 + length]
        if time.perf_counter() < self.ends:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed a connection"))

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.source))
