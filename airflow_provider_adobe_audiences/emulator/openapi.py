# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description of the emulator, made from its routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

ERROR = {"description": "An error, in the form of the service."}
LEFT_OUT = {"description": "Documented by Adobe, left out by the emulator."}
#: Headers of each API, by the beginning of its paths.
HEADERS: Mapping[str, tuple[str, ...]] = {
    "/data/": ("authorization", "x-api-key", "x-gw-ims-org-id", "x-sandbox-name"),
    "/core/": ("authorization", "x-api-key", "x-gw-ims-org-id", "x-sandbox-name"),
    "/api/v1/": ("authorization", "x-api-key"),
    "/v1/": ("authorization", "x-api-key"),
    "/{tenant}/": ("authorization", "x-api-key"),
    "/m2/": ("authorization",),
    "/rest/": ("authorization",),
    "/oauth/": ("authorization",),
}


def document(api: FastAPI, left_out: Mapping[str, Iterable[str]], url: str) -> dict[str, Any]:
    """Return the description.

    :param left_out: operations that the emulator does not play, by path template.
    :param url: where it listens.
    """
    routes = [route for route in api.routes if isinstance(route, APIRoute)]
    for route in routes:
        route.operation_id = f"{route.name}_{'_'.join(sorted(route.methods))}_{_word(route.path_format)}"
    described: dict[str, Any] = get_openapi(
        title=api.title,
        version="1",
        description="Adobe on localhost. It follows Adobe's documents; it is no evidence of what Adobe does.",
        routes=routes,
        servers=[{"url": url}],
    )
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path, operations in described["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = ERROR
            operation.setdefault("parameters", []).extend(_headers(path))
            _hoist(operation, schemas)
    for template, methods in left_out.items():
        path = template.replace(":any}", "}")
        for method in methods:
            described["paths"].setdefault(path, {})[method.lower()] = _left_out(path, method)
    return described


def _headers(path: str) -> list[dict[str, Any]]:
    names = next((names for start, names in HEADERS.items() if path.startswith(start)), ())
    return [{"name": name, "in": "header", "required": False, "schema": {"type": "string"}} for name in names]


def _left_out(path: str, method: str) -> dict[str, Any]:
    names = [part[1:].partition("}")[0] for part in path.split("/") if part.startswith("{")]
    return {
        "tags": ["Left out"],
        "operationId": f"left_out_{method}_{_word(path)}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "responses": {"501": LEFT_OUT},
    }


def _hoist(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Move the definitions inside of a body's schema to where references lead."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"] = _moved(content["schema"], schemas)


def _moved(node: Any, schemas: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_moved(one, schemas) for one in node]
    if not isinstance(node, dict):
        return node
    for name, schema in node.get("$defs", {}).items():
        schemas[name] = _moved(schema, schemas)
    return {
        key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value, schemas)
        for key, value in node.items()
        if key != "$defs"
    }


def _word(path: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in path).strip("_") + (
        "_slash" if path.endswith("/") else ""
    )
