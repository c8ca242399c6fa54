"""What the OpenAPI description says of the key, and the parts of a problem document that every route refers to."""

from typing import Any

from fastapi import FastAPI

from longtail.serving.messages.problems import Fault

SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def describe(app: FastAPI, keyed: bool, open_paths: frozenset[str]) -> None:
    """Complete the OpenAPI description of `app`. keyed: whether every route but the open paths needs a key."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        schema = described()
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {})["Fault"] = Fault.model_json_schema()
        if keyed:
            parts["securitySchemes"] = SCHEMES
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    operation["security"] = [] if path in open_paths else [{name: []} for name in SCHEMES]
        return schema

    app.openapi = openapi
