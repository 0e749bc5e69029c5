# SPDX-License-Identifier: Apache-2.0
"""What the routes of all services share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor

#: All of the control API is below this path; nothing of Adobe is.
CONTROL = "/_emulator"


class Anything(Convertor[str]):
    """What is left of a path, slashes and line breaks included; Starlette's own ``path`` ends at a break."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", Anything())


@cache
def pattern_of(template: str) -> re.Pattern[str]:
    """Return the expression for a path like ``/a/{id}``; ``{rest:any}`` takes what is left."""
    parts = re.split(r"(\{[^}]*\})", template)
    return re.compile(
        "".join(
            re.escape(part)
            if not part.startswith("{")
            else Anything.regex
            if part.endswith(":any}")
            else "[^/]+"
            for part in parts
        )
    )


def methods_of(operations: Mapping[str, Iterable[str]], path: str) -> set[str]:
    """Return the methods that operations (by path template) have for a path."""
    return {
        method
        for template, methods in operations.items()
        if pattern_of(template).fullmatch(path)
        for method in methods
    }


def described(
    *,
    body: type[BaseModel] | Mapping[str, Any] | None = None,
    media_type: str = "application/json",
    query: Iterable[str] = (),
    headers: Iterable[str] = (),
    required: bool = True,
) -> dict[str, Any]:
    """Return what a route adds to its description, as ``openapi_extra``.

    :param body: shape of the request body, as a model or as a JSON schema; none: there is no body.
    :param query: names of the parameters in the query.
    :param headers: names of the headers that matter.
    :param required: must there be a body?
    """
    places = {"query": query, "header": headers}
    parameters = [
        {"name": name, "in": place, "required": False, "schema": {"type": "string"}}
        for place, names in places.items()
        for name in names
    ]
    extra: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if body is not None:
        schema = dict(body) if isinstance(body, Mapping) else body.model_json_schema()
        extra["requestBody"] = {"content": {media_type: {"schema": schema}}, "required": required}
    return extra


def object_of(*texts: str, **others: str) -> dict[str, Any]:
    """Return the JSON schema of an object.

    :param texts: names of properties that are text.
    :param others: types of further properties.
    """
    types = dict.fromkeys(texts, "string") | others
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in types.items()}}


def array_of(items: type[BaseModel] | Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an array."""
    schema = dict(items) if isinstance(items, Mapping) else items.model_json_schema()
    return {"type": "array", "items": schema}


BINARY = {"type": "string", "format": "binary"}
