"""Prometheus metrics of all replicas as one page.

Every replica is a process with its own counters, and a scrape through Serve reaches one of them, by chance another one each
time. So the replica that is asked collects the families of all replicas, each with the label `replica`, and answers with
their union. prometheus_client's own mode for several processes needs one folder for all, and Ray's agents, which use the
library too, would write into it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REGISTRY = CollectorRegistry(auto_describe=True)
"""What this replica tells. Every module of serving that counts something registers it here."""
ProcessCollector(registry=REGISTRY)


def families(replica: str) -> list[Metric]:
    """All metrics of this replica, with its id as a label. They can be sent to another process."""
    found = list(REGISTRY.collect())
    for family in found:
        family.samples = [
            sample._replace(labels=sample.labels | {"replica": replica}) for sample in family.samples
        ]
    return found


def exposition(replicas: Iterable[list[Metric]]) -> bytes:
    """The families of several replicas as one page in Prometheus' text format."""
    union = _Union()
    for found in replicas:
        union.add(found)
    registry = CollectorRegistry()
    registry.register(union)
    return generate_latest(registry)


def add_metrics(
    app: FastAPI, gather: Callable[[], Awaitable[list[list[Metric]]]], refusals: dict[int | str, Any]
) -> None:
    """Add /metrics: what `gather` finds, the families of every replica. refusals: its errors in the description."""

    async def metrics() -> Response:
        """Prometheus' text format."""
        return Response(exposition(await gather()), media_type=CONTENT_TYPE)

    page = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    app.add_api_route("/metrics", metrics, response_class=Response, responses=page | refusals)


class _Union(Collector):
    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def add(self, found: list[Metric]) -> None:
        for family in found:
            known = self._families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type, family.unit)
            )
            known.samples = [*known.samples, *family.samples]

    def collect(self) -> Iterable[Metric]:
        return self._families.values()
