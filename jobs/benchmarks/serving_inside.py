"""One answer without HTTP: both look-ups, the fusion, the titles and the JSON. Its own process, so that nothing else runs.

python -m jobs.benchmarks.serving_inside WORKSPACE ANSWERS
"""

import asyncio
import json
import sys
import tempfile
import time

import numpy as np

from jobs.benchmarks.memory import in_fresh_process
from jobs.benchmarks.served_store import Size, write_store
from longtail.recipe import Serving
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.events import open_log
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.routes import as_json
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.serving.versions.version_watch import Versions, marks
from longtail.workspace import Workspace

LARGE = Size(users=100_000, items=100_000, history=20)
SMALL = Size(users=5_000, items=10_000, history=20)


def measure(quick: bool = False) -> dict[str, float]:
    """inside_p50_ms and inside_p99_ms of one answer in a large catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(folder, SMALL if quick else LARGE)
        return in_fresh_process("jobs.benchmarks.serving_inside", folder, 500 if quick else 20_000)


async def timed(workspace: str, answers: int) -> dict[str, float]:
    """inside_p50_ms and inside_p99_ms over random users."""
    ws, serving = Workspace(workspace), Serving()
    versions = Versions(lambda: Snapshot.load(ws, sources_of(ws, serving)), lambda: marks(ws, serving))
    endpoint = Endpoint(versions, serving, open_log(ws, serving))
    users = np.random.default_rng(7).integers(len(versions.current.users), size=answers)
    seconds = np.empty(answers)
    for number, user in enumerate(users):
        request = RecommendRequest(user_id=f"user-{user}", k=10)
        began = time.perf_counter()
        as_json(await endpoint.recommend(request))
        seconds[number] = time.perf_counter() - began
    return {f"inside_p{q}_ms": 1000 * float(np.quantile(seconds, q / 100)) for q in (50, 99)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(timed(sys.argv[1], int(sys.argv[2])))))
