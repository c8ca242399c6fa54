"""The Ray Serve application over a finished workspace.

`serve build app.serving.deployments:application` and KubeRay's RayService import `application`, with the
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

from app import __version__
from app.serving.messages import Fault, Health, Recommendation, RecommendRequest
from app.serving.recommendation import (
    BadQuestion,
    Candidates,
    Recommendations,
    UnknownUser,
    read_recipe,
    served,
)
from app.workspace import Workspace

http = FastAPI(
    title="Longtail",
    version=__version__,
    description="Recommendations that trust the LLM more the sparser the user is.",
)


class Arguments(BaseModel):
    """Arguments of the application in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    workspace: str
    """Folder or URI of a finished run; every node must reach it."""


@http.exception_handler(RequestValidationError)
async def _unprocessable(_: Request, error: RequestValidationError) -> Response:
    """What was wrong and where, without the input: it may hold what JSON cannot say (NaN, half a letter)."""
    faults = [f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in error.errors()]
    return _fault(422, "; ".join(faults))


@http.exception_handler(UnknownUser)
async def _not_found(_: Request, error: UnknownUser) -> Response:
    return _fault(404, str(error))


@http.exception_handler(BadQuestion)
async def _refused(_: Request, error: BadQuestion) -> Response:
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

    def __init__(self, workspace: str) -> None:
        ws = Workspace(workspace)
        self.recommendations = Recommendations(read_recipe(ws), ws)

    @http.post(
        "/recommend",
        responses={
            404: {"model": Fault, "description": "No such user."},
            422: {
                "model": Fault,
                "description": "Not one of user_id and history, k out of range, no known item.",
            },
        },
    )
    async def recommend(self, request: RecommendRequest) -> Recommendation:
        """Rank the catalogue for a known user or for an ad-hoc history."""
        here = self.recommendations
        k = here.length(request.k)
        if request.user_id is not None:
            user = here.user(request.user_id)
            return here.for_user(user, await self._rank_users(user), k)
        known, unknown = here.history(request.history or [])
        return here.for_history(known, unknown, await self._rank_histories(known), k)

    @http.get("/healthz")
    async def health(self) -> Health:
        """Whether this replica has loaded its workspace, and what is in it."""
        here = self.recommendations
        ranked = int(np.count_nonzero(np.diff(here.llm.indptr)))
        return Health(
            recommender=here.name, users=len(here.users), items=len(here.items), users_with_llm_ranking=ranked
        )

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def _rank_users(self, users: list[int]) -> list[Candidates]:
        return await asyncio.to_thread(self.recommendations.rank_users, users)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.002)
    async def _rank_histories(self, histories: list[np.ndarray]) -> list[Candidates]:
        return await asyncio.to_thread(self.recommendations.rank_histories, histories)


def application(arguments: Arguments) -> Any:
    """The application of a Serve config, `args: {workspace: …}`. InputError where it is not finished."""
    ws = Workspace(arguments.workspace)
    for place in ("data", served(read_recipe(ws))):
        ws.require(place)
    return Longtail.bind(arguments.workspace)
