"""The routes of the HTTP endpoint, as a plain FastAPI application over one `Endpoint`; it knows nothing of Ray."""

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Response
from pydantic import BaseModel

from longtail import __version__
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.edge.request_record import current_record
from longtail.serving.explorer import add_pages
from longtail.serving.messages.answer_messages import (
    Alive,
    BatchAnswer,
    EventsAnswer,
    Ready,
    Recommendation,
    SimilarItems,
    Titles,
    Version,
)
from longtail.serving.messages.problems import MEDIA_TYPE, Problem, add_problems
from longtail.serving.messages.request_messages import (
    DEFAULT_K,
    MAX_ID,
    BatchRequest,
    EventsRequest,
    ListLength,
    RecommendRequest,
)

ABOUT = "Recommendations: the fewer interactions a user has, the more the LLM's ranking counts."
MEANING = {
    400: "The body is not JSON.",
    401: "No key, or one that is not known.",
    404: "The served version has no such thing.",
    405: "The route has other methods.",
    408: "The request did not arrive in time.",
    409: "The served version cannot do what is asked.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The body or the address does not fit the schema.",
    429: "Too many requests wait already; `Retry-After` says when to try again.",
    503: "Not everything that is configured is loaded.",
}
"""The meaning of each status that is not 200."""


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI declaration of problem documents with these statuses."""
    schema = Problem.model_json_schema()
    # FastAPI adds no component for what stands here, so nothing here may refer to one.
    schema["properties"]["faults"]["items"] = schema.pop("$defs")["Fault"]
    return {
        status: {"description": MEANING[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


EVERYWHERE = declared(401, 405, 429, 503)
WITH_BODY = EVERYWHERE | declared(400, 408, 409, 413, 415, 422)
OF_AN_ITEM = EVERYWHERE | declared(404, 422)


def build(endpoint: Endpoint) -> FastAPI:
    """The application with all routes."""
    http = FastAPI(title="Longtail", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    add_problems(http)
    add_pages(http)

    @http.post("/v1/recommend", responses=WITH_BODY, response_model=Recommendation, tags=["recommend"])
    async def recommend(request: RecommendRequest) -> Response:
        """Rank the catalogue for a user, for a history, or for a user with exactly this history."""
        answer = await endpoint.recommend(request)
        current_record().note([answer])
        return as_json(answer)

    @http.post("/v1/recommend:batch", responses=WITH_BODY, response_model=BatchAnswer, tags=["recommend"])
    async def recommend_batch(request: BatchRequest) -> Response:
        """Answer several requests at once, all from one version."""
        answer = await endpoint.recommend_batch(request.requests)
        current_record().note(answer.answers)
        return as_json(answer)

    @http.post("/v1/events", responses=WITH_BODY, response_model=EventsAnswer, tags=["events"])
    async def events(request: EventsRequest) -> Response:
        """Tell what users did. It is in the log when the answer comes, and the next answer for these users knows it."""
        return as_json(await endpoint.events.tell(request.events))

    @http.get(
        "/v1/items/{item_id:path}/similar", responses=OF_AN_ITEM, response_model=SimilarItems, tags=["items"]
    )  # an id may have a slash
    async def similar(
        item_id: Annotated[str, Path(min_length=1, max_length=MAX_ID)], k: ListLength = DEFAULT_K
    ) -> Response:
        """The items that are most similar to one item, by the recommender that is served."""
        return as_json(await endpoint.similar(item_id, k))

    @http.get("/v1/titles", responses=EVERYWHERE | declared(422), response_model=Titles, tags=["items"])
    async def titles(prefix: Annotated[str, Query(max_length=MAX_ID)] = "") -> Response:
        """Items whose title begins with a text."""
        return as_json(endpoint.titles(prefix))

    @http.get("/livez", responses=declared(405), response_model=Alive, tags=["operation"])
    async def livez() -> Response:
        """Whether the process lives. Always 200."""
        return as_json(Alive())

    @http.get("/readyz", responses=declared(405, 503), response_model=Ready, tags=["operation"])
    async def readyz() -> Response:
        """Whether everything configured is loaded."""
        return as_json(await endpoint.ready())

    @http.get("/version", responses=EVERYWHERE, response_model=Version, tags=["operation"])
    async def version() -> Response:
        """What is served."""
        return as_json(endpoint.version())

    return http


def as_json(answer: BaseModel) -> Response:
    """The answer as it is: FastAPI would check and convert every item once more."""
    return Response(answer.model_dump_json(), media_type="application/json")
