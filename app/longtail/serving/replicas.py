"""How Ray Serve runs the replicas: how many requests one takes, how it is replaced, and what all of them say together."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prometheus_client.metrics_core import Metric
from ray import serve

from longtail.serving.metrics import families

DEPLOYMENT: dict[str, Any] = {
    # What a replica works on at a time, batches included. Everything beyond waits in Serve.
    "max_ongoing_requests": 32,
    # With proxies each proxy lets so many wait, in HAProxy mode each replica. What comes then is answered at once; the
    # front (edge/front.py) says how long it will take instead of `retry_after_s`.
    "max_queued_requests": 32,
    "backpressure_config": {"status_code": 429, "retry_after_s": 1},
    # What waits looks for a free place this often. Serve's own backoff grows to 0.5 s, and would leave half of an overloaded
    # replica's places empty (tests/stack/test_edge_faults.py).
    "request_router_config": {"initial_backoff_s": 0.01, "max_backoff_s": 0.05},
    # A new version of the code runs before the old one goes, also if there is one replica only.
    "max_surge_percent": 100,
    "graceful_shutdown_timeout_s": 20,
    "health_check_period_s": 10,
    "health_check_timeout_s": 15,
    "ray_actor_options": {"num_cpus": 1},
}
"""Options of the deployment. `clusters/serve.yaml` has the same and adds how many replicas there are."""

THREADS = 4
"""Threads of a replica. The deadline cannot stop a thread, so late work must not be able to pile up in new ones."""
STUCK_S = 10.0
"""Seconds after which a replica is ill whose threads take up nothing."""
GATHER_S = 5.0
"""Seconds in which the other replicas tell their metrics."""


def bound_threads() -> None:
    """Let `asyncio.to_thread` of the running loop use THREADS threads. A request that is cancelled before one is free
    never runs."""
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="longtail")
    asyncio.get_running_loop().set_default_executor(executor)


async def check_threads() -> None:
    """Raises TimeoutError if all threads of this replica are stuck; Serve then replaces it."""
    await asyncio.wait_for(asyncio.to_thread(int), STUCK_S)


def host() -> str | None:
    """The address that Serve listens on; None if it has no HTTP at all."""
    from ray.serve.context import _get_global_client  # nothing public tells it

    return _get_global_client().http_config.host


def own_metrics() -> list[Metric]:
    """The metrics of this replica, with its id."""
    return families(serve.get_replica_context().replica_tag)


async def all_metrics(method: str) -> list[list[Metric]]:
    """What the `method` of every replica returns, its `own_metrics`. Those of this one alone if the others do not answer."""
    here = serve.get_replica_context()
    handle = serve.get_deployment_handle(here.deployment, here.app_name)
    try:
        return await handle.broadcast(method).results_async(timeout_s=GATHER_S)
    except Exception:  # a replica that has just gone must not take the figures of the others with it
        return [own_metrics()]
