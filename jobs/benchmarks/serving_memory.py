"""What a second replica costs over the first one on the same node.

The first replica brings its own memory and the files that it maps; the second one maps the same files, so it brings its own
memory only. A replica's own memory is what would be free if it alone ended (USS).

python -m jobs.benchmarks.serving_memory WORKSPACE USERS
"""

import json
import sys
import tempfile
from pathlib import Path

import psutil

from jobs.benchmarks.http_load import drive, post
from jobs.benchmarks.memory import in_fresh_process
from jobs.benchmarks.served_store import ML_1M, Size, write_store
from longtail.recipe import Serving
from longtail.runtime.cluster import connect
from longtail.serving.versions.node_files import NodeFiles
from longtail.serving.versions.served_run import read_recipe, sources_of
from longtail.workspace import Workspace

PORT = 8124
MANY = Size(users=1_000_000, items=10_000, history=20)
"""Its arrays are far larger than a Python process."""


def measure(quick: bool = False) -> dict[str, float]:
    """memory_per_replica_over_first in a large store, and in one as large as MovieLens 1M, which is smaller than Python."""
    found = _of_store(Size(20_000, 10_000, 20) if quick else MANY)
    small = _of_store(ML_1M)["memory_per_replica_over_first"]
    return found | {"memory_per_replica_over_first_ml_1m": small}


def _of_store(size: Size) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        write_store(folder, size)
        return in_fresh_process("jobs.benchmarks.serving_memory", folder, size.users)


def weighed(workspace: str, users: int) -> dict[str, float]:
    """memory_per_replica_over_first, the memory of the second replica in MiB, and that of the files that both map."""
    from ray import serve

    from longtail.serving.application import Longtail

    ws = Workspace(workspace)
    connect(read_recipe(ws).resources)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
    requests = [
        post("/v1/recommend", json.dumps({"user_id": f"user-{user}"}).encode())
        for user in range(0, users, max(1, users // 5_000))
    ]
    options = {"num_replicas": 2, "ray_actor_options": {"num_cpus": 0.5}}
    serve.run(Longtail.options(**options).bind(workspace, Serving()), name="longtail")
    drive(PORT, requests, 8, 20)
    first, second = sorted(_replicas())  # the larger one is called the second: that is against us
    serve.shutdown()
    folder = NodeFiles.of(ws, sources_of(ws, Serving())).folder
    mapped = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
    return {
        "memory_per_replica_over_first": second / (first + mapped),
        "second_replica_mib": second / 2**20,
        "mapped_mib": mapped / 2**20,
    }


def _replicas() -> list[int]:
    """The own memory, in bytes, of each replica of the endpoint."""
    found = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"]]
    title = "ray::ServeReplica:longtail:Longtail"
    return [one.memory_full_info().uss for one in found if one.info["cmdline"][0].startswith(title)]


if __name__ == "__main__":
    print(json.dumps(weighed(sys.argv[1], int(sys.argv[2]))))
