"""The endpoint over HTTP against a deployment that does nothing, with bodies of the same size, in turns on one machine.

The least work of an answer is to read a request, to find two lists, to fuse them and to write some 2 kB. The peer does the
first and the last of it in the same Ray Serve, so the ratios say what the work between costs.
"""

import json
import os
import tempfile
from statistics import median

import psutil

from jobs.benchmarks.http_load import Load, drive, post
from jobs.benchmarks.served_store import ML_1M, write_store
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.serving.local import serve
from longtail.workspace import Workspace

CLIENTS = 16
K = 10
PORT = 8123


def measure(quick: bool = False) -> dict[str, float]:
    """throughput_over_noop and p99_over_noop with CLIENTS clients on a store as large as MovieLens 1M; requests a second,
    and for each second of processor time.
    """
    with tempfile.TemporaryDirectory() as folder:
        recipe, ws = write_store(folder, ML_1M)
        return _over_noop(recipe, ws, turns=2 if quick else 5, seconds=3 if quick else 15)


def _over_noop(recipe: Recipe, ws: Workspace, turns: int, seconds: float) -> dict[str, float]:
    from ray import serve as ray_serve

    from jobs.benchmarks.noop import noop

    requests = [_request(user) for user in range(0, ML_1M.users, 7)]
    serve(recipe, ws, PORT, block=False)
    try:
        body = _one_answer(requests[0])
        ray_serve.run(noop(body), name="noop", route_prefix="/noop")
        peers = [request.replace(b"/v1/recommend", b"/noop", 1) for request in requests]
        for warm in (requests, peers):
            drive(PORT, warm, CLIENTS, min(seconds, 3))
        pairs, cores = [], 0.0
        for _ in range(turns):
            before = _processor_seconds()
            ours = drive(PORT, requests, CLIENTS, seconds)
            cores += (_processor_seconds() - before) / len(ours.seconds)
            pairs.append((_sound(ours), _sound(drive(PORT, peers, CLIENTS, seconds))))
    finally:
        ray_serve.shutdown()
    return {
        "throughput_over_noop": median(ours.per_second / peer.per_second for ours, peer in pairs),
        "p99_over_noop": median(ours.quantile(0.99) / peer.quantile(0.99) for ours, peer in pairs),
        "requests_per_second": median(ours.per_second for ours, _ in pairs),
        "noop_requests_per_second": median(peer.per_second for _, peer in pairs),
        "p99_ms": median(1000 * ours.quantile(0.99) for ours, _ in pairs),
        "requests_per_core_second": turns / cores,
    }


def _request(user: int) -> bytes:
    return post("/v1/recommend", json.dumps({"user_id": f"user-{user}", "k": K}).encode())


def _one_answer(request: bytes) -> int:
    """The bytes of an answer's body."""
    load = drive(PORT, [request], 1, 0.2)
    return _sound(load).bytes_in // len(load.seconds)


def _sound(load: Load) -> Load:
    """Raises InputError if a request was not answered with 200: a refusal costs less than an answer."""
    if set(load.statuses) != {200}:
        raise InputError(f"the endpoint answered {dict(load.statuses)}; every answer must be 200.")
    return load


def _processor_seconds() -> float:
    """Of all processes below this one, which are those of Ray; the clients are not among them."""
    times = [one.cpu_times() for one in psutil.Process(os.getpid()).children(recursive=True)]
    return sum(one.user + one.system for one in times)
