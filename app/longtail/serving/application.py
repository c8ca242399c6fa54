"""The Ray Serve application over a finished workspace.

`serve build longtail.serving.application:application` and KubeRay's RayService import `application`, with the argument
`workspace`; `longtail serve` runs the same on this machine.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict
from ray import serve
from starlette.types import ASGIApp

from longtail.recipe import Serving
from longtail.serving.endpoint import Endpoint
from longtail.serving.recommendation import read_recipe, to_serve
from longtail.serving.routes import build
from longtail.workspace import Workspace


class Arguments(BaseModel):
    """Arguments of the application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    """Folder or URI of a finished run; every node must reach it."""
    serving: Serving | None = None
    """What to serve. By default the `serving` of the run's recipe; validation chooses what it does not name."""


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
@serve.ingress()
class Longtail:
    """One replica: it loads one version and answers many requests at a time."""

    def __init__(self, workspace: str, serving: Serving) -> None:
        self.endpoint = Endpoint(workspace, serving)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The routes, and around them what stands at the edge (`serving/edge/`)."""
        return build(self.endpoint)


def application(arguments: Arguments) -> Any:
    """The application of a Serve config, `args: {workspace: …}`. Raises InputError if the run is not finished."""
    ws = Workspace(arguments.workspace)
    serving = arguments.serving or read_recipe(ws).serving
    to_serve(ws, serving)
    return Longtail.bind(arguments.workspace, serving)
