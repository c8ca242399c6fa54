"""One line of JSON for each request, without users, histories, keys and addresses."""

import json
import logging
import time

from longtail.serving.edge.request_record import RequestRecord

log = logging.getLogger("longtail.requests")
"""Its lines are whole JSON objects. Errors of the server are warnings, everything else is information."""


def write_line(record: RequestRecord) -> None:
    """Log a request that has ended."""
    level = logging.WARNING if record.status >= 500 else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "%s", line(record, time.time()))


def line(record: RequestRecord, now: float) -> str:
    """now: seconds since 1970. Times are UTC."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    told = {
        "time": f"{seconds}.{int(now % 1 * 1000):03d}Z",
        "request_id": record.request_id,
        "method": record.method,
        "route": record.route,
        "status": record.status,
        "took_ms": round(record.elapsed * 1000, 2),
        "key": record.key,
        "arm": record.arm,
        "model_version": record.model_version,
        "degraded": [f"{part}: {reason}" for part, reason in record.degraded],
    }
    return json.dumps(told)


def log_to_standard_error() -> None:
    """Write the lines of this process bare to standard error, which Ray keeps in the worker's log file. Once is enough."""
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
