"""The Ray Serve application over a finished workspace.

`serve build longtail.serving.application:application` and KubeRay's RayService import `application`, with the argument
`workspace`; `longtail serve` runs the same on this machine.
"""

import os
from typing import Any

from prometheus_client.metrics_core import Metric
from pydantic import BaseModel, ConfigDict
from ray import serve
from starlette.types import ASGIApp

from longtail.recipe import Serving
from longtail.serving import replicas
from longtail.serving.edge.keys import needed_keys
from longtail.serving.edge.protection import protect
from longtail.serving.edge.request_metrics import add_metrics
from longtail.serving.endpoint import Endpoint
from longtail.serving.recommendation import read_recipe, to_serve
from longtail.serving.routes import EVERYWHERE, build
from longtail.workspace import Workspace

DEADLINE_S = 1.0
"""A request is taken on only if what is here already will be answered in this time."""
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

    def __init__(self, workspace: str, serving: Serving) -> None:
        self.keys = needed_keys(replicas.host(), os.environ)
        self.endpoint = Endpoint(workspace, serving)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The routes, and around them what stands at the edge (`serving/edge/`)."""
        replicas.bound_threads()
        http = build(self.endpoint)
        add_metrics(http, lambda: replicas.all_metrics("metrics"), EVERYWHERE)
        return protect(http, self.keys, DEADLINE_S, LONGEST_S)

    async def check_health(self) -> None:
        await replicas.check_threads()

    def metrics(self) -> list[Metric]:
        """What this replica counted, for the replica that is asked for /metrics."""
        return replicas.own_metrics()


def application(arguments: Arguments) -> Any:
    """The application of a Serve config, `args: {workspace: …}`. Raises InputError if the run is not finished."""
    ws = Workspace(arguments.workspace)
    serving = arguments.serving or read_recipe(ws).serving
    to_serve(ws, serving)
    return Longtail.bind(arguments.workspace, serving)
