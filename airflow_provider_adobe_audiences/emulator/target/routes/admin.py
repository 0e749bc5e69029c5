# SPDX-License-Identifier: Apache-2.0
"""Admin API of Target: authentication tokens and settings."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.requests import json_value
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import described
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService
from airflow_provider_adobe_audiences.emulator.target.models import SCOPES, ProfileToken, Target
from airflow_provider_adobe_audiences.emulator.target.settings import (
    SETTINGS,
    SettingsBody,
    problem_of_settings,
)

V1 = "application/vnd.adobe.target.v1+json"
V3 = "application/vnd.adobe.target.v3+json"
VERSION = re.compile(r"application/vnd\.adobe\.target\.v(\d{1,9})\+json")
ANY_JSON = ("*/*", "application/*", "application/json")
SCOPE = ("authorizationScope", "scope")
PREFIX = "/{tenant}/target"
TAG = "Target Admin API"


def _check(version: int) -> Callable[..., Awaitable[None]]:
    async def check(request: Request, target: TargetService) -> None:
        target.gateway.check(request, org=False)
        if not _is_version(request, version):
            raise target.error(406, "Unsupported.Feature", "The requested version is not supported")
        status = target.switches.missing_permission_status
        if status:
            code = "Internal.Error" if status == 500 else "Forbidden"
            raise target.error(status, code, "User is not allowed to perform the operation")

    return check


def _is_version(request: Request, version: int) -> bool:
    """Return whether a request is about this version: a payload says so by its Content-Type, everything else
    by Accept; plain JSON is version 1, or the only one that there is.
    """
    declared = VERSION.findall(request.headers.get("content-type", ""))
    if declared:
        return str(version) in declared
    if request.method in ("PUT", "PATCH"):
        return True
    accept = request.headers.get("accept", "*/*")
    return str(version) in VERSION.findall(accept) or any(kind in accept for kind in ANY_JSON)


async def _scope(request: Request, target: TargetService) -> str:
    wanted = target.switches.token_scope_parameter
    names = ("authorizationScope", "scope") if wanted == "either" else (wanted,)
    scope = next((request.query_params[name] for name in names if name in request.query_params), None)
    if scope not in SCOPES:
        raise target.error(400, "Invalid.Parameter", f"{names[0]} must be one of {', '.join(SCOPES)}")
    return scope


Scope = Annotated[str, Depends(_scope)]

routes = APIRouter()
_routes = APIRouter(prefix=PREFIX, tags=[TAG], dependencies=[Depends(_check(1))])
_audiences = APIRouter(prefix=PREFIX, tags=[TAG], dependencies=[Depends(_check(3))])


def _shown(target: Target, token: ProfileToken, scope: str) -> dict[str, Any]:
    left = max(0, int(token.expires - target.environment.clock.now()))
    return {"accessToken": token.value, "tokenType": "bearer", "scope": scope, "expiresIn": left}


@_routes.get("/authentication/token", openapi_extra=described(query=SCOPE))
async def get_token(tenant: str, target: TargetService, scope: Scope) -> Response:
    """Return the token that lives."""
    tokens = target.issued[scope]
    expired = bool(tokens) and tokens[-1].expires <= target.environment.clock.now()
    if not tokens or (expired and not target.switches.expired_token_shown):
        raise target.error(target.switches.no_token_status, "NotFound", "There is no token")
    return respond(200, _shown(target, tokens[-1], scope), media_type=V1)


@_routes.post("/authentication/token", openapi_extra=described(query=SCOPE))
async def create_token(tenant: str, target: TargetService, scope: Scope) -> Response:
    """Create a token; the one before is dead."""
    required = target.settings["enableProfileApiAuthentication"]
    if target.switches.token_requires_authentication and not required:
        raise target.error(400, "Invalid.State", "Authentication is not required")
    body = _shown(target, target.issue(scope), scope)
    return respond(target.switches.token_created_status, body, media_type=V1)


@_routes.get("/clients/settings")
async def get_settings(tenant: str, target: TargetService) -> Response:
    """Return the settings."""
    return respond(200, target.settings, media_type=V1)


@_routes.patch("/clients/settings", openapi_extra=described(body=SettingsBody, media_type=V1))
async def patch_settings(request: Request, tenant: str, target: TargetService) -> Response:
    """Change some settings."""
    status = target.switches.patch_status
    if status != 200:
        raise target.error(status, "NotAllowed", "Request method 'PATCH' not supported")
    _change(target, target.settings | await _read_settings(request, target))
    return respond(200, target.settings, media_type=V1)


@_routes.put("/clients/settings", openapi_extra=described(body=SettingsBody, media_type=V1))
async def put_settings(request: Request, tenant: str, target: TargetService) -> Response:
    """Replace the settings."""
    resets = target.switches.put_resets_omitted_settings
    left_out = SETTINGS | {"enableProfileApiAuthentication": False} if resets else target.settings
    _change(target, left_out | await _read_settings(request, target))
    return respond(200, target.settings, media_type=V1)


async def _read_settings(request: Request, target: Target) -> dict[str, Any]:
    try:
        body = await json_value(request)
    except ErrorResponse as error:
        raise target.error(400, "Invalid.Body", error.body["message"]) from None
    problem = problem_of_settings(body)
    if problem:
        raise target.error(400, "Invalid.Field", problem)
    return dict(body)


def _change(target: Target, settings: dict[str, Any]) -> None:
    target.settings = settings
    drops = target.switches.disabling_authentication_drops_token
    if drops and not settings["enableProfileApiAuthentication"]:
        target.issued["profile_api"].clear()


@_audiences.get("/audiences", openapi_extra=described(query=["limit", "offset", "sortBy"]))
async def list_audiences(request: Request, tenant: str, target: TargetService) -> Response:
    """List audiences, filtered, sorted and in pages."""
    query = request.query_params
    filters = {name for name in query if name not in ("limit", "offset", "sortBy", "workspace")}
    found = [
        one for one in target.audiences if all(str(one.get(name)) in query.getlist(name) for name in filters)
    ]
    names = [name for text in query.getlist("sortBy") for name in text.split(",") if name]
    for name in reversed(names):
        key = name.removeprefix("-")
        found.sort(key=lambda one: str(one.get(key, "")), reverse=name.startswith("-"))
    limit, offset = (_whole(target, query.get(name)) for name in ("limit", "offset"))
    end = None if limit is None else (offset or 0) + limit
    return respond(200, {"total": len(found), "audiences": found[offset or 0 : end]}, media_type=V3)


def _whole(target: Target, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise target.error(400, "Invalid.Parameter", "limit and offset are whole numbers")
    return int(text)


routes.include_router(_routes)
routes.include_router(_audiences)
