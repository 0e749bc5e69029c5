# SPDX-License-Identifier: Apache-2.0
"""Control API of Audience Manager: what its own API cannot set up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.audience_manager.endpoints import Manager
from airflow_provider_adobe_audiences.emulator.requests import json_object, with_clear_errors
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import CONTROL

routes = APIRouter(prefix=f"{CONTROL}/audience_manager", tags=["Control"])


@routes.post("/groups")
async def set_up_group(request: Request, manager: Manager) -> Response:
    """Add a group with all that the API cannot set: members, wildcards, permissions, conflict."""
    body = await json_object(request)
    return respond(201, manager.group_json(with_clear_errors(lambda: manager.add_group(**body))))


@routes.post("/users")
async def set_up_user(request: Request, manager: Manager) -> Response:
    """Add a user as if it had always been there."""
    body = await json_object(request)
    return respond(201, manager.user_json(with_clear_errors(lambda: manager.add_user(**body))))


@routes.put("/unreachable")
async def set_unreachable(request: Request, manager: Manager) -> Response:
    """Replace the objects that the caller cannot reach: ``{"TRAIT": [1, 2]}``."""
    body = await json_object(request)

    def pairs() -> set[tuple[str, int]]:
        items: list[tuple[str, Any]] = list(body.items())
        return {(kind, int(one)) for kind, ids in items for one in ids}

    manager.unreachable = with_clear_errors(pairs)
    return respond(204)
