"""Endpoints as processes of their own, and what can be done to them from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from longtail.recipe import Recipe
from longtail.runtime.ray_start import free_port
from longtail.serving import serve
from longtail.workspace import Workspace
from tests.stack.processes import COMMAND, found

KEY = "a-key-of-the-test-0123456789"
REPLICA = "ray::ServeReplica"


@dataclass
class Served:
    url: str
    driver: int

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": KEY}, timeout=60, **options)

    def replicas(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in found(REPLICA, self.driver)]

    def metric(self, name: str, **labels: str) -> dict[str, float]:
        """The sum of the samples of this name and these labels, by replica."""
        with self.client() as client:
            page = client.get("/metrics").raise_for_status().text
        summed: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    replica = sample.labels["replica"]
                    summed[replica] = summed.get(replica, 0.0) + sample.value
        return summed


@contextmanager
def served_here(recipe: Recipe, ws: Workspace) -> Iterator[str]:
    """The address of an endpoint whose driver is this process."""
    from ray import serve as ray_serve

    port = free_port()
    serve(recipe, ws, port=port, block=False)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ray_serve.shutdown()


@contextmanager
def slow_endpoint(*arguments: object) -> Iterator[Served]:
    """`tests.stack.slow_endpoint`, until it is not needed any more."""
    port = free_port()
    module = [sys.executable, "-m", "tests.stack.slow_endpoint", str(port)]
    process = _started(
        [*module, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert any(line.strip() == "up" for line in process.stdout), "it ended before it served"
        yield Served(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.stdin.close()
        process.wait(timeout=120)


@contextmanager
def served(recipe: Path, workspace: Path) -> Iterator[Served]:
    """`longtail serve` of a finished run, with a key, until it is told to end."""
    port = free_port()
    command = [*COMMAND, "serve", str(recipe), "--workspace", str(workspace), "--port", str(port)]
    process = _started(command, stderr=subprocess.PIPE, text=True)
    endpoint = Served(f"http://127.0.0.1:{port}", process.pid)
    try:
        while not _ready(endpoint):
            assert process.poll() is None, process.stderr.read()[-4000:]
            time.sleep(0.5)
        yield endpoint
    finally:
        # Not SIGINT: what a shell started in the background ignores that, and so does all that it starts.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)


def _started(command: list[str], **streams: object) -> subprocess.Popen[str]:
    """With a key, and without the address of any other Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"RAY_AUTH_MODE": "disabled", "LONGTAIL_API_KEYS": f"test={KEY}"}
    return subprocess.Popen(command, env=kept | own, start_new_session=True, **streams)


def _ready(endpoint: Served) -> bool:
    try:
        return httpx.get(f"{endpoint.url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False
