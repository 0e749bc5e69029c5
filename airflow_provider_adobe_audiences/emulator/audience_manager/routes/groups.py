# SPDX-License-Identifier: Apache-2.0
"""Groups of Audience Manager."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.audience_manager.endpoints import (
    IDS,
    PAGES,
    Manager,
    are_ids,
    endpoint,
    json_body,
    listed,
    number_of,
)
from airflow_provider_adobe_audiences.emulator.audience_manager.errors import error
from airflow_provider_adobe_audiences.emulator.audience_manager.models import AudienceManager, Group
from airflow_provider_adobe_audiences.emulator.requests import parse_json
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import object_of

GROUP = object_of("name", "description")

routes = APIRouter(tags=["Groups"])


def _shown(request: Request, manager: AudienceManager, group: Group) -> dict[str, Any]:
    mode = manager.switches.group_html_escaping
    disabled = request.headers.get("aam-disable-escaping-html", "").lower() == "true"
    return manager.group_json(group, mode == "always" or (mode == "unless_header" and not disabled))


def _find(manager: AudienceManager, group_id: str) -> Group:
    group = manager.groups.get(number_of(group_id))
    if group is None:
        status = manager.switches.group_unknown_status
        raise error(status, "group_not_found", "there is no such group")
    return group


def _checked_name(manager: AudienceManager, body: Any, other_than: int | None) -> str:
    if not isinstance(body, dict) or body.keys() - {"name", "description"}:
        raise error(400, "malformed_request", "the body must be an object with name and description")
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise error(400, "invalid_name", "name must be a string that is not blank")
    taken = any(group.name == name and group.group_id != other_than for group in manager.groups.values())
    if taken and manager.switches.group_name_taken == "conflict":
        raise error(409, "group_name_taken", "a group of this name exists")
    return name


def _checked_description(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise error(400, "invalid_description", "description must be a string or null")
    return value


def _description_required() -> ErrorResponse:
    return error(400, "invalid_description", "description is required, and may be null")


@endpoint(routes, "GET", "/groups/", query=PAGES)
async def list_groups(request: Request, manager: Manager) -> Response:
    """List groups."""
    groups = list(manager.groups.values())
    return listed(request, manager, groups, lambda group: _shown(request, manager, group))


@endpoint(routes, "POST", "/groups/", body=GROUP)
async def create_group(request: Request, manager: Manager) -> Response:
    """Create a group."""
    body = await json_body(request)
    name = _checked_name(manager, body, None)
    if "description" not in body:
        raise _description_required()
    group = manager.add_group(name, _checked_description(body["description"]))
    return respond(manager.switches.group_create_status, _shown(request, manager, group))


@endpoint(routes, "DELETE", "/groups/bulk-delete", body=IDS)
async def bulk_delete_groups(request: Request, manager: Manager) -> Response:
    """Delete several groups."""
    return await _bulk_delete("DELETE", request, manager)


@endpoint(routes, "POST", "/groups/bulk-delete", body=IDS)
async def bulk_delete_groups_by_post(request: Request, manager: Manager) -> Response:
    """Delete several groups."""
    return await _bulk_delete("POST", request, manager)


async def _bulk_delete(method: str, request: Request, manager: AudienceManager) -> Response:
    switches = manager.switches
    if switches.bulk_delete_verb not in ("both", method):
        raise error(405, "method_not_allowed", f"{method} is not allowed here")
    try:
        ids = parse_json(await request.body())
    except ValueError:
        ids = None
    if not ids or not are_ids(ids):
        if switches.bulk_delete_bad_body == 400:
            raise error(400, "malformed_request", "the body must be an array of group ids")
        return respond(204)
    known = [one for one in dict.fromkeys(ids) if one in manager.groups]
    if any(manager.groups[one].conflicted for one in known):
        raise error(409, "conflict", "a group cannot be deleted in its present state")
    if len(known) < len(set(ids)) and switches.bulk_delete_unknown_id != "partial":
        status = int(switches.bulk_delete_unknown_id)
        raise error(status, "group_not_found", "at least one of the groups does not exist")
    for one in known:
        manager.drop_group(one)
    return respond(204)


@endpoint(routes, "GET", "/groups/{group_id}")
async def get_group(request: Request, group_id: str, manager: Manager) -> Response:
    """Look a group up."""
    if not manager.switches.group_get_one:
        raise error(404, "not_found", "there is no resource at this path")
    return respond(200, _shown(request, manager, _find(manager, group_id)))


@endpoint(routes, "PUT", "/groups/{group_id}", body=GROUP)
async def update_group(request: Request, group_id: str, manager: Manager) -> Response:
    """Update a group."""
    group, switches = _find(manager, group_id), manager.switches
    body = await json_body(request)
    name = _checked_name(manager, body, group.group_id)
    if "description" not in body and switches.group_put_without_description == "refuse":
        raise _description_required()
    keeps = "description" not in body and switches.group_put_without_description == "unchanged"
    group.description = group.description if keeps else _checked_description(body.get("description"))
    group.name = name
    if switches.group_wipe_on_put:
        group.wildcards, group.permissions = [], []
        for user_id in manager.members_of(group.group_id):
            manager.leave(user_id, group.group_id)
    return respond(switches.group_put_status, _shown(request, manager, group))


@endpoint(routes, "DELETE", "/groups/{group_id}")
async def delete_group(group_id: str, manager: Manager) -> Response:
    """Delete a group."""
    group = _find(manager, group_id)
    if group.conflicted:
        raise error(409, "conflict", "the group cannot be deleted in its present state")
    manager.drop_group(group.group_id)
    return respond(204)
