"""An endpoint of its own Ray whose answers take as long as they are asked to, with our edge, front and replicas around it.

    python -m tests.stack.slow_endpoint PORT [--replicas 2] [--mode proxy|haproxy] [--without-front] [--longest 3]

Prints `up` and serves until its standard input ends.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI, Request
from pydantic import BaseModel

from longtail.runtime import cluster
from longtail.runtime.ray_start import free_port

FRONT = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
LONGEST_S = 3.0


class Work(BaseModel):
    seconds: float = 0.0
    padding: str = ""


def routes() -> FastAPI:
    from longtail.serving.messages.problems import add_problems

    app = FastAPI()
    add_problems(app)

    @app.post("/v1/work")
    async def work(work: Work) -> dict[str, int]:
        await asyncio.sleep(work.seconds)
        return {"pid": os.getpid()}

    @app.get("/v1/headers")
    async def headers(request: Request) -> list[str]:
        return request.headers.keys()

    @app.get("/livez")
    async def livez() -> dict[str, int]:
        return {"pid": os.getpid()}

    return app


def deployment(replicas_wanted: int, longest: float):
    from ray import serve

    from longtail.serving import replicas
    from longtail.serving.edge.keys import needed_keys
    from longtail.serving.edge.protection import protect
    from longtail.serving.metrics import add_metrics

    @serve.deployment(num_replicas=replicas_wanted, **replicas.DEPLOYMENT)
    @serve.ingress()
    class Slow:
        def __serve_build_asgi_app__(self) -> FastAPI:
            replicas.bound_threads()
            app = routes()
            add_metrics(app, lambda: replicas.all_metrics("metrics"), {})
            return protect(app, needed_keys(replicas.host(), os.environ), 60.0, longest)

        async def check_health(self) -> None:
            await replicas.check_threads()

        def metrics(self) -> list:
            return replicas.own_metrics()

    return Slow


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--mode", choices=["proxy", "haproxy"], default="proxy")
    parser.add_argument("--without-front", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--longest", type=float, default=LONGEST_S)
    asked = parser.parse_args()
    place = TemporaryDirectory(prefix="haproxy")
    if asked.mode == "haproxy":
        os.environ |= haproxy(Path(place.name))
    if asked.without_front:
        del cluster.WORKER_ENVIRONMENT[FRONT]

    from longtail.recipe import Resources

    cluster.connect(Resources())

    from ray import serve

    quiet = {"log_level": "WARNING", "enable_access_log": False}
    serve.start(http_options={"host": asked.host, "port": asked.port}, logging_config=quiet)
    serve.run(deployment(asked.replicas, asked.longest).bind(), name="slow", logging_config=quiet)
    print("up", flush=True)
    sys.stdin.read()
    serve.shutdown()
    place.cleanup()


def haproxy(place: Path) -> dict[str, str]:
    """HAProxy mode, with ports and places of its own: another Serve may run on this machine."""
    first = free_port()
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + 50),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(place / "metrics.sock"),
    }


if __name__ == "__main__":
    main()
