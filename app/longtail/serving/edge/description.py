"""What the OpenAPI description says of every route: the key, and the errors that the edge may answer."""

from typing import Any

from fastapi import FastAPI

from longtail.serving.edge.problems import MEDIA_TYPE, ProblemDocument

REFUSALS = {
    400: "The request cannot be read.",
    401: "No key, or an unknown one.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not JSON, or is compressed.",
    422: "Something in the request is wrong: `faults` says where.",
    429: "The server is busy. `Retry-After` says when to come back.",
    500: "The server made a mistake.",
    503: "There was no answer in time, or no replica is ready.",
}
ONLY_WITH_A_BODY = {408, 413, 415}
NEVER_OF_OPEN_PATHS = {401}
RETRY_AFTER = {
    "description": "Seconds until it is worth coming back.",
    "schema": {"type": "integer", "minimum": 0},
}


def describe(app: FastAPI, keyed: bool, open_paths: frozenset[str]) -> None:
    """Make the OpenAPI description of `app` name the errors of every route, and the key if one is needed."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_refusals(described(), keyed, open_paths)
        return app.openapi_schema

    app.openapi = openapi


def _with_refusals(schema: dict[str, Any], keyed: bool, open_paths: frozenset[str]) -> dict[str, Any]:
    parts = schema.setdefault("components", {})
    document = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = parts.setdefault("schemas", {})
    schemas |= document.pop("$defs")
    schemas["ProblemDocument"] = document
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    if keyed:
        parts["securitySchemes"] = {
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            missing = set() if "requestBody" in operation else ONLY_WITH_A_BODY
            missing |= NEVER_OF_OPEN_PATHS if path in open_paths else set()
            for status in REFUSALS.keys() - missing:
                _declare(operation["responses"], status, REFUSALS[status])
            if keyed and path not in open_paths:
                operation["security"] = [{"key": []}, {"bearer": []}]
    return schema


def _declare(responses: dict[str, Any], status: int, description: str) -> None:
    """Declare an error, keeping the description that the route gives it."""
    declared = responses.setdefault(str(status), {"description": description})
    declared["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    if status in (429, 503):
        declared["headers"] = {"Retry-After": RETRY_AFTER}
