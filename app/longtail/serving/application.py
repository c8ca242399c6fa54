"""The Ray Serve application over a finished workspace.

`serve build longtail.serving.application:application` and KubeRay's RayService import `application`, with the argument
`workspace`; `longtail serve` runs the same on this machine.
"""

import os
from typing import Any

from prometheus_client.metrics_core import Metric
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from longtail.recipe import Serving
from longtail.serving import replicas
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.edge.keys import needed_keys
from longtail.serving.edge.protection import protect
from longtail.serving.events import open_log
from longtail.serving.live.live_client import LiveLLMClient
from longtail.serving.live.live_llm import live_llm
from longtail.serving.metrics import add_metrics
from longtail.serving.routes import EVERYWHERE, build
from longtail.serving.versions.served_run import read_recipe, sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.serving.versions.version_watch import Versions, marks
from longtail.workspace import Workspace

LONGEST_S = 10.0
"""After so long a request ends, whatever it waits for."""


class Arguments(BaseModel):
    """Arguments of the application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    """Folder or URI of a finished run; every node must reach it."""
    serving: Serving | None = None
    """What to serve. By default the `serving` of the run's recipe; validation chooses what it does not name."""


@serve.deployment(**replicas.DEPLOYMENT)
@serve.ingress()
class Longtail:
    """One replica: it loads one version and answers many requests at a time."""

    def __init__(self, workspace: str, serving: Serving, live: DeploymentHandle | None = None) -> None:
        """live: the deployment of the live LLM. Raises InputError if the first version cannot be loaded."""
        self.keys = needed_keys(replicas.host(), os.environ)
        ws = Workspace(workspace)
        versions = Versions(lambda: Snapshot.load(ws, sources_of(ws, serving)), lambda: marks(ws, serving))
        versions.start()
        asked = None if live is None else LiveLLMClient(live)
        self.endpoint = Endpoint(versions, serving, open_log(ws, serving), asked)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The routes, and around them what stands at the edge (`serving/edge/`)."""
        replicas.bound_threads()
        http = build(self.endpoint)
        add_metrics(http, lambda: replicas.all_metrics("metrics"), EVERYWHERE)
        deadline = self.endpoint.deadline_ms / 1000
        return protect(http, self.keys, deadline, max(LONGEST_S, 2 * deadline))

    async def check_health(self) -> None:
        await replicas.check_threads()

    def __del__(self) -> None:
        """Serve calls it when a replica ends in peace: what waits for the event log is written."""
        if endpoint := getattr(self, "endpoint", None):
            endpoint.events.close()

    def metrics(self) -> list[Metric]:
        """What this replica counted, for the replica that is asked for /metrics."""
        return replicas.own_metrics()


def application(arguments: Arguments) -> Any:
    """The application of a Serve config, `args: {workspace: …}`. Raises InputError if the run is not finished."""
    ws = Workspace(arguments.workspace)
    recipe = read_recipe(ws)
    serving = arguments.serving or recipe.serving
    sources_of(ws, serving)
    live = live_llm(ws, recipe.resources) if serving.live else None
    return Longtail.bind(arguments.workspace, serving, live)
