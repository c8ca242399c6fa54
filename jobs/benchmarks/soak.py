"""The endpoint under mixed requests for a long time, as fast as this machine can answer: does its memory grow?

Known users, histories of strangers, explanations, batches and new events, on a store as large as MovieLens 1M. The memory of
a process is what would be free if it alone ended (USS), so neither files that are mapped nor shared libraries count.
"""

import json
import logging
import tempfile
import time
from collections import Counter
from itertools import count

import numpy as np
import psutil

from jobs.benchmarks.http_load import drive, post
from jobs.benchmarks.served_store import ML_1M, write_store
from longtail.serving.local import serve

CLIENTS = 16
PORT = 8125
PART_S = 15
"""Seconds between two looks at the memory."""
WARM = 0.1
"""The share of the time after which memory is compared: first everything must have been used once."""
REMEMBERED = 10_000
"""Events that are kept in memory: so few that the bound is reached while it warms up."""
log = logging.getLogger("longtail")


def measure(quick: bool = False, minutes: float = 20) -> dict[str, float]:
    """soak_requests, soak_requests_per_second, soak_not_200, and soak_memory_growth: by what share the memory of replica,
    proxy and controller together grew; soak_replica_growth is that of the replica alone.
    """
    from ray import serve as ray_serve

    ends = time.monotonic() + (30 if quick else 60 * minutes)
    part_s = 2 if quick else PART_S
    rng, ids = np.random.default_rng(7), count()
    sizes: list[dict[str, int]] = []
    statuses: Counter[int] = Counter()
    wall = 0.0
    with tempfile.TemporaryDirectory() as folder:
        recipe, ws = write_store(folder, ML_1M)
        events = recipe.serving.events.model_copy(update={"remembered": REMEMBERED})
        serving = recipe.serving.model_copy(update={"events": events})
        recipe = recipe.model_copy(update={"serving": serving})
        serve(recipe, ws, PORT, block=False)
        try:
            while time.monotonic() < ends:
                load = drive(PORT, [_request(rng, ids) for _ in range(2_000)], CLIENTS, part_s)
                statuses += load.statuses
                wall += load.wall
                sizes.append(_memory())
                log.info("%d requests, %s MiB", statuses.total(), {k: v >> 20 for k, v in sizes[-1].items()})
        finally:
            ray_serve.shutdown()
    return {
        "soak_requests": statuses.total(),
        "soak_requests_per_second": statuses.total() / wall,
        "soak_not_200": statuses.total() - statuses[200],
        "soak_memory_growth": _growth([sum(size.values()) for size in sizes]),
        "soak_replica_growth": _growth([size["replica"] for size in sizes]),
    }


def _request(rng: np.random.Generator, ids: "count[int]") -> bytes:
    user = f"user-{rng.integers(ML_1M.users)}"
    items = [f"item-{item}" for item in rng.integers(ML_1M.items, size=20)]
    kind = rng.random()
    if kind < 0.6:
        return _asked("/v1/recommend", {"user_id": user})
    if kind < 0.75:
        return _asked("/v1/recommend", {"history": items, "exclude": items[:3]})
    if kind < 0.85:
        return _asked("/v1/recommend", {"user_id": user, "explain": True})
    if kind < 0.9:
        return _asked("/v1/recommend:batch", {"requests": [{"user_id": user}, {"history": items}]})
    event = {"event_id": f"event-{next(ids)}", "user_id": user, "item_id": items[0]}
    return _asked("/v1/events", {"events": [event]})


def _asked(path: str, body: object) -> bytes:
    return post(path, json.dumps(body).encode())


def _memory() -> dict[str, int]:
    """Bytes of the processes of Serve, by what they are."""
    found: dict[str, int] = {"replica": 0, "proxy": 0, "controller": 0}
    begins = {
        "replica": "ray::ServeReplica",
        "proxy": "ray::ProxyActor",
        "controller": "ray::ServeController",
    }
    for one in psutil.process_iter(["cmdline"]):
        title = (one.info["cmdline"] or [""])[0]
        for name, begin in begins.items():
            if title.startswith(begin):
                found[name] += one.memory_full_info().uss
    return found


def _growth(sizes: list[int]) -> float:
    """From the tenth of the samples after the warm-up to the last tenth."""
    warm = sizes[int(len(sizes) * WARM) :]
    tenth = max(1, len(warm) // 10)
    return float(np.median(warm[-tenth:]) / np.median(warm[:tenth]) - 1)
