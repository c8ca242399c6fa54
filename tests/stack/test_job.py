"""A stage submitted as a Ray job to a head that runs apart, with a token, as on a cluster."""

import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from app.workspace import Workspace, read_manifest

ROOT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).parent / "ray"
RECIPE = {"name": "tiny", "dataset": {"simulation": {"users": 60, "items": 40}}}
EXCLUDES = '{"excludes": [".venv", ".git", "runs"]}'


@dataclass(frozen=True)
class Head:
    address: str
    environment: dict[str, str]

    def call(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [RAY, "job", *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1200,
        )


def free_ports(n: int) -> list[int]:
    """Below the range from which the kernel hands out ports: nothing takes them before the head does."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 500):
        with socket.socket() as probe:
            if len(found) < n and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """`ray start --head` with its own ports, folder and token, beside any other Ray of this machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = inherited | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    gcs, dashboard, agent, agent_grpc, metrics, client = free_ports(6)
    with tempfile.TemporaryDirectory(
        prefix="head", ignore_cleanup_errors=True
    ) as folder:  # sockets need short paths
        command = [
            *(RAY, "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=8"),
            *("--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={folder}"),
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
            *(f"--metrics-export-port={metrics}", f"--ray-client-server-port={client}"),
            *("--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={200 * 2**20}"),
        ]
        with open(Path(folder) / "start.log", "w+") as log:
            started = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                here = Head(f"http://127.0.0.1:{dashboard}", environment)
                _wait_for(here, started, Path(log.name))
                yield here
            finally:
                _stop(started, folder)


def _wait_for(head: Head, started: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the job server answers and takes a job. If it does not, the failure shows the log of the head.

    On a busy machine it answers before it has found the agent that starts jobs, and refuses them.
    """
    token = {"Authorization": f"Bearer {head.environment['RAY_AUTH_TOKEN']}"}
    deadline = time.monotonic() + 600
    while True:
        assert started.poll() is None and time.monotonic() < deadline, log.read_text()
        with suppress(httpx.TransportError):
            if httpx.get(f"{head.address}/api/jobs/", headers=token, timeout=30).status_code == 200:
                break
        time.sleep(0.5)
    while (tried := head.call("submit", "--address", head.address, "--no-wait", "--", "true")).returncode:
        said = tried.stdout + tried.stderr + log.read_text()
        assert started.poll() is None and time.monotonic() < deadline, said
        time.sleep(1)


def _stop(started: subprocess.Popen[bytes], folder: str) -> None:
    """End this head and its children only: `ray stop` would end every Ray of the machine."""
    family = psutil.Process(started.pid).children(recursive=True) if started.poll() is None else []
    family += [one for one in psutil.process_iter() if _mentions(one, folder)]
    started.kill()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    started.wait(30)
    psutil.wait_procs(family, 30)


def _mentions(process: psutil.Process, folder: str) -> bool:
    try:
        return any(folder in part for part in process.cmdline())
    except psutil.Error:
        return False


def test_submitted_stage_publishes(head: Head, tmp_path: Path) -> None:
    recipe, workspace = tmp_path / "tiny.yaml", tmp_path / "workspace"
    recipe.write_text(yaml.safe_dump(RECIPE))
    stage = [sys.executable, "-m", "jobs.prepare", "--recipe", str(recipe), "--workspace", str(workspace)]
    submitted = head.call(
        *("submit", "--address", head.address, "--working-dir", str(ROOT), "--runtime-env-json", EXCLUDES),
        *("--", *stage, "--set", "seed=11"),
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "succeeded" in submitted.stdout + submitted.stderr
    manifest = read_manifest(Workspace(str(workspace)) / "data")
    assert manifest["settings"]["seed"] == 11
    assert manifest["counts"]["users"] > 0


def test_a_failing_job_is_reported(head: Head, tmp_path: Path) -> None:
    stage = [sys.executable, "-m", "jobs.prepare", "--recipe", str(tmp_path / "none.yaml")]
    submitted = head.call(
        *("submit", "--address", head.address, "--working-dir", str(ROOT), "--runtime-env-json", EXCLUDES),
        *("--", *stage),
    )
    assert submitted.returncode != 0
    assert "no such recipe" in submitted.stdout + submitted.stderr


def test_another_token_is_refused(head: Head) -> None:
    refused = head.call("list", "--address", head.address, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert refused.returncode != 0
