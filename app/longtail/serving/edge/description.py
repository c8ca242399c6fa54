"""What the OpenAPI description says of the key."""

from typing import Any

from fastapi import FastAPI

SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def describe_keys(app: FastAPI, open_paths: frozenset[str]) -> None:
    """Make the OpenAPI description of `app` say that every route needs a key, but for the open paths."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        schema["components"]["securitySchemes"] = SCHEMES
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                operation["security"] = [] if path in open_paths else [{name: []} for name in SCHEMES]
        return schema

    app.openapi = openapi
