"""The Ray Serve application over a finished workspace.

`serve build longtail.serving.deployments:application` and KubeRay's RayService import `application`, with the
argument `workspace`; `longtail serve` runs the same on this machine.
"""

import asyncio
import json
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from ray import serve

from longtail import __version__
from longtail.recipe import Serving
from longtail.serving.messages import Fault, Health, Recommendation, RecommendRequest
from longtail.serving.recommendation import BadRequest, Ranked, Recommendations, read_recipe, to_serve
from longtail.workspace import Workspace

http = FastAPI(
    title="Longtail",
    version=__version__,
    description="Recommendations: the fewer interactions a user has, the more the LLM's ranking counts.",
)


class Arguments(BaseModel):
    """Arguments of the application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    """Folder or URI of a finished run; every node must reach it."""
    serving: Serving | None = None
    """What to serve. By default the `serving` of the run's recipe; validation chooses what it does not name."""


@http.exception_handler(RequestValidationError)
async def _unprocessable(_: Request, error: RequestValidationError) -> Response:
    """What is wrong and where, without the input: it may contain values that JSON cannot hold (NaN, half a character)."""
    faults = [f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in error.errors()]
    return _fault(422, "; ".join(faults))


@http.exception_handler(BadRequest)
async def _refused(_: Request, error: BadRequest) -> Response:
    return _fault(422, str(error))


def _fault(status: int, detail: str) -> Response:
    return Response(json.dumps({"detail": detail}), status, media_type="application/json")


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 1})
@serve.ingress(http)
class Longtail:
    """One replica: it loads the workspace once and answers many requests at a time.

    Requests that arrive together are ranked in one pass over the model, in a thread, so that health checks
    never wait.
    """

    def __init__(self, workspace: str, serving: Serving) -> None:
        self.recommendations = Recommendations(Workspace(workspace), serving)

    @http.post(
        "/recommend",
        responses={
            422: {
                "model": Fault,
                "description": "Both or neither of user_id and history, k out of range, or no known item in the history.",
            },
        },
    )
    async def recommend(self, request: RecommendRequest) -> Recommendation:
        """Rank the catalogue for a user or for an ad-hoc history. An unknown user gets the most popular items."""
        here = self.recommendations
        k = here.length(request.k)
        if request.user_id is None:
            known, unknown = here.history(request.history or [])
            return here.for_history(unknown, await self._rank_histories(known), k)
        user = here.user(request.user_id)
        ranked = here.popular() if user is None else await self._rank_users(user)
        return here.for_user(request.user_id, ranked, k, known=user is not None)

    @http.get("/healthz")
    async def health(self) -> Health:
        """Whether this replica has loaded its workspace, and what it serves."""
        return self.recommendations.health

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def _rank_users(self, users: list[int]) -> list[Ranked]:
        return await asyncio.to_thread(self.recommendations.rank_users, users)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def _rank_histories(self, histories: list[np.ndarray]) -> list[Ranked]:
        return await asyncio.to_thread(self.recommendations.rank_histories, histories)


def application(arguments: Arguments) -> Any:
    """The application of a Serve config, `args: {workspace: …}`. Raises InputError if the run is not finished."""
    ws = Workspace(arguments.workspace)
    serving = arguments.serving or read_recipe(ws).serving
    to_serve(ws, serving)
    return Longtail.bind(arguments.workspace, serving)
