# SPDX-License-Identifier: Apache-2.0
"""Users of Audience Manager."""

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
from airflow_provider_adobe_audiences.emulator.audience_manager.models import AudienceManager, User
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import object_of

#: Field of :class:`User` to Adobe's name.
KEYS = {
    "username": "username",
    "status": "status",
    "first_name": "firstName",
    "last_name": "lastName",
    "email": "email",
    "title": "title",
    "phone_number": "phoneNumber",
}

USER = object_of(*KEYS.values(), groups="array", isAdmin="boolean")

routes = APIRouter(tags=["Users"])


def _find(manager: AudienceManager, user_id: str) -> User:
    user = manager.users.get(number_of(user_id))
    if user is None:
        raise error(404, "user_not_found", "there is no such user")
    return user


def _checked(manager: AudienceManager, body: Any, other_than: int | None) -> tuple[dict[str, Any], list[int]]:
    """Return fields and groups of a user."""
    username = body.get("username") if isinstance(body, dict) else None
    if not isinstance(username, str) or not username.strip():
        raise error(400, "malformed_request", "username is required")
    taken = manager.user_of(username)
    if taken is not None and taken.user_id != other_than:
        raise error(409, "username_taken", "the user name is taken")
    groups = body.get("groups", [])
    if not are_ids(groups) or any(group not in manager.groups for group in groups):
        raise error(400, "invalid_groups", "groups must be an array of existing group ids")
    return {name: body[key] for name, key in KEYS.items() if key in body}, groups


@endpoint(routes, "GET", "/users/", query=["groupId", *PAGES])
async def list_users(request: Request, manager: Manager) -> Response:
    """List users, all or those of some groups."""
    # Adobe's page misspells the parameter.
    items = request.query_params.multi_items()
    wanted = {value for key, value in items if key in ("groupId", "groupdId")}
    users = [
        user
        for user in manager.users.values()
        if not wanted or wanted & {str(group) for group in manager.groups_of(user.user_id)}
    ]
    return listed(request, manager, users, manager.user_json)


@endpoint(routes, "POST", "/users/", body=USER)
async def create_user(request: Request, manager: Manager) -> Response:
    """Create a user."""
    body = await json_body(request)
    fields, groups = _checked(manager, body, None)
    admin = str(body.get("isAdmin", False)).lower() == "true"
    return respond(201, manager.user_json(manager.add_user(**fields, groups=groups, is_admin=admin)))


@endpoint(routes, "GET", "/users/self", self_service=True)
async def get_self(request: Request, manager: Manager) -> Response:
    """Return the user who is calling."""
    username: str = request.state.username
    user = manager.user_of(username)
    if user is None:
        if not manager.switches.aam_first_self_creates_user:
            raise error(404, "user_not_found", "there is no such user")
        email, admin = f"{username}@techacct.adobe.com", manager.switches.aam_caller_is_admin
        user = manager.add_user(username, email=email, is_admin=admin)
    return respond(200, manager.user_json(user))


@endpoint(routes, "POST", "/users/bulk-delete", body=IDS)
async def bulk_delete_users(request: Request, manager: Manager) -> Response:
    """Delete several users."""
    ids = await json_body(request)
    if not are_ids(ids) or any(one not in manager.users for one in ids):
        raise error(400, "malformed_request", "the body must be an array of ids of users")
    for one in dict.fromkeys(ids):
        manager.drop_user(one)
    return respond(204)


@endpoint(routes, "GET", "/users/{user_id}")
async def get_user(user_id: str, manager: Manager) -> Response:
    """Look a user up."""
    return respond(200, manager.user_json(_find(manager, user_id)))


@endpoint(routes, "PUT", "/users/{user_id}", body=USER)
async def update_user(request: Request, user_id: str, manager: Manager) -> Response:
    """Update a user, with all groups that the user is in."""
    user = _find(manager, user_id)
    fields, groups = _checked(manager, await json_body(request), user.user_id)
    for name, value in fields.items():
        setattr(user, name, value)
    for group_id in set(manager.groups_of(user.user_id)) - set(groups):
        manager.leave(user.user_id, group_id)
    for group_id in groups:
        manager.join(user.user_id, group_id)
    shown = manager.user_json(user)
    return respond(200, {key: shown[key] for key in shown if key not in ("title", "phoneNumber")})


@endpoint(routes, "DELETE", "/users/{user_id}")
async def delete_user(user_id: str, manager: Manager) -> Response:
    """Delete a user."""
    manager.drop_user(_find(manager, user_id).user_id)
    return respond(204)
