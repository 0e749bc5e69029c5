# SPDX-License-Identifier: Apache-2.0
"""Control API of Audience Manager: what its own API cannot set up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.audience_manager.endpoints import Manager
from airflow_provider_adobe_audiences.emulator.requests import json_object, with_clear_errors
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import CONTROL, described, object_of

GROUP = object_of(
    "name",
    "description",
    wildcards="array",
    permissions="array",
    users="array",
    conflicted="boolean",
    inaccessible="boolean",
)
USER = object_of("username", "first_name", "last_name", "email", groups="array", is_admin="boolean")

routes = APIRouter(prefix=f"{CONTROL}/audience_manager", tags=["Control"])


@routes.post("/groups", openapi_extra=described(body=GROUP))
async def set_up_group(request: Request, manager: Manager) -> Response:
    """Add a group with all that the API cannot set: members, wildcards, permissions, conflict."""
    body = await json_object(request)
    return respond(201, manager.group_json(with_clear_errors(lambda: manager.add_group(**body))))


@routes.post("/users", openapi_extra=described(body=USER))
async def set_up_user(request: Request, manager: Manager) -> Response:
    """Add a user as if it had always been there."""
    body = await json_object(request)
    return respond(201, manager.user_json(with_clear_errors(lambda: manager.add_user(**body))))


@routes.put("/unreachable", openapi_extra=described(body={"type": "object"}))
async def set_unreachable(request: Request, manager: Manager) -> Response:
    """Replace the objects that the caller cannot reach: ``{"TRAIT": [1, 2]}``."""
    body = await json_object(request)

    def pairs() -> set[tuple[str, int]]:
        items: list[tuple[str, Any]] = list(body.items())
        return {(kind, int(one)) for kind, ids in items for one in ids}

    manager.unreachable = with_clear_errors(pairs)
    return respond(204)
