"""Every error as a problem document (RFC 9457), without the values of the request: they may be what JSON cannot hold."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Fault(BaseModel):
    pointer: str = Field(
        description="JSON pointer (RFC 6901) to the value in the body; empty for the body itself."
    )
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457), sent as application/problem+json."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "detail": "The request has 1 fault.",
                    "faults": [{"pointer": "/k", "message": "Input should be greater than or equal to 1"}],
                }
            ]
        },
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] = []


class Refused(Exception):
    """A request that is not answered: the status, what is wrong, and where in the body."""

    def __init__(self, status: int, detail: str, faults: list[Fault] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.faults = status, detail, faults or []

    def within(self, *keys: int | str) -> "Refused":
        """The same for a request that is a part of another one, at these keys."""
        outer = pointer_to(*keys)
        faults = [Fault(pointer=outer + one.pointer, message=one.message) for one in self.faults]
        return Refused(self.status, self.detail, faults)


def problem(
    status: int, detail: str, faults: list[Fault] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer with this status."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, faults=faults or [])
    return Response(body.model_dump_json(), status, headers, MEDIA_TYPE)


def add_problems(http: FastAPI) -> None:
    """Answer every error of `http` with a problem document."""

    @http.exception_handler(RequestValidationError)
    async def _unfit(_: Request, error: RequestValidationError) -> Response:
        kinds = {fault["type"] for fault in error.errors()}
        if "json_invalid" in kinds:
            return problem(400, "The body is not JSON.")
        faults = [Fault(pointer=_place(one["loc"]), message=one["msg"]) for one in error.errors()]
        named = "; ".join(f"{one.pointer or 'body'}: {one.message}" for one in faults[:5])
        return problem(422, f"The request does not fit the schema: {named}", faults)

    @http.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> Response:
        return problem(error.status, error.detail, error.faults)

    @http.exception_handler(HTTPException)
    async def _other(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)


def pointer_to(*keys: int | str) -> str:
    """The JSON pointer (RFC 6901) of a value, from the keys that lead to it."""
    parts = (str(one).encode(errors="replace").decode() for one in keys)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _place(location: tuple[int | str, ...]) -> str:
    """The pointer to a place in the body, or to a parameter in the address."""
    return pointer_to(*(location[1:] if location[:1] == ("body",) else location))
