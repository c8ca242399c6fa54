"""What the edge counts of every request."""

from prometheus_client import Counter, Gauge, Histogram

from longtail.serving.edge.load import Pace
from longtail.serving.edge.request_record import RequestRecord
from longtail.serving.metrics import REGISTRY

REQUESTS = Counter(
    "longtail_requests",
    "Requests by path, status, name of the key and arm.",
    ["route", "status", "key", "arm"],
    registry=REGISTRY,
)
SECONDS = Histogram(
    "longtail_request_seconds",
    "Time in the replica, from arrival to the last byte.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
DEGRADED = Counter(
    "longtail_degraded",
    "Answers that went without a part, by part and reason.",
    ["part", "reason"],
    registry=REGISTRY,
)
IN_FLIGHT = Gauge("longtail_in_flight", "Requests that are being answered.", registry=REGISTRY)
WAIT = Gauge(
    "longtail_wait_seconds",
    "How long what is in flight will take: what Retry-After is made of.",
    registry=REGISTRY,
)


def watch(pace: Pace) -> None:
    """Read the depth and the wait of this replica's gate whenever somebody asks."""
    IN_FLIGHT.set_function(lambda: pace.in_flight)
    WAIT.set_function(lambda: pace.wait)


def count(record: RequestRecord) -> None:
    """Add a request that has ended."""
    REQUESTS.labels(record.route, str(record.status), record.key, record.arm).inc()
    SECONDS.labels(record.route).observe(record.elapsed)
    for part, reason in record.degraded:
        DEGRADED.labels(part, reason).inc()
