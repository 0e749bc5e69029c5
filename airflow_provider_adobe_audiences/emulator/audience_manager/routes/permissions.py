# SPDX-License-Identifier: Apache-2.0
"""Permissions of groups, and the types of objects that there are permissions for."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.audience_manager.endpoints import (
    Manager,
    endpoint,
    json_body,
    number_of,
)
from airflow_provider_adobe_audiences.emulator.audience_manager.errors import error
from airflow_provider_adobe_audiences.emulator.audience_manager.permissions import (
    PER_OBJECT,
    WILDCARD,
    checked_permissions,
)
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import array_of, object_of

ROWS = array_of(object_of("objectType", objectId="integer", permissions="array"))

routes = APIRouter(tags=["Permissions"])


@endpoint(routes, "GET", "/groups/{group_id}/permissions")
async def list_permissions(group_id: str, manager: Manager) -> Response:
    """List all permissions of a group."""
    group = manager.groups.get(number_of(group_id))
    if group is None or group.inaccessible:
        raise error(400, "group_inaccessible", "the group is not accessible")
    return respond(200, manager.permissions_json(group))


@endpoint(routes, "PUT", "/groups/{group_id}/permissions/", body=ROWS)
async def set_permissions(request: Request, group_id: str, manager: Manager) -> Response:
    """Replace all permissions of a group."""
    group = manager.groups.get(number_of(group_id))
    if group is None or group.inaccessible:
        status = manager.switches.permissions_unknown_group_status
        raise error(status, "group_inaccessible", "the group is not accessible")
    group.permissions = checked_permissions(await json_body(request), manager.unreachable)
    return respond(200, manager.permissions_json(group))


@endpoint(routes, "GET", "/permissionable-object-types/")
async def list_object_types() -> Response:
    """List the types of objects."""
    return respond(200, list(PER_OBJECT))


@endpoint(routes, "GET", "/permissionable-object-types/{object_type}/")
async def get_object_type(object_type: str) -> Response:
    """List the permissions that there are for one type of objects."""
    if object_type not in PER_OBJECT:
        raise error(404, "not_found", f"there is no object type {object_type}")
    return respond(200, {"wildcard": WILDCARD[object_type], "perObject": PER_OBJECT[object_type]})
