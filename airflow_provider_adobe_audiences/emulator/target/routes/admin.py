# SPDX-License-Identifier: Apache-2.0
"""Admin API of Target: authentication tokens and settings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService
from airflow_provider_adobe_audiences.emulator.target.errors import error
from airflow_provider_adobe_audiences.emulator.target.models import SCOPES, ProfileToken, Target
from airflow_provider_adobe_audiences.emulator.target.settings import SETTINGS, check_settings

V1 = "application/vnd.adobe.target.v1+json"


async def _check(request: Request, target: TargetService) -> None:
    target.gateway.check(request, org=False)
    accept = request.headers.get("accept", "*/*")
    if not any(word in accept for word in ("*/*", "application/*", V1)):
        raise error(406, "Unsupported.Feature", "The requested version is not supported")
    status = target.switches.missing_permission_status
    if status:
        code = "Internal.Error" if status == 500 else "Forbidden"
        raise error(status, code, "User is not allowed to perform the operation")


async def _scope(request: Request, target: TargetService) -> str:
    wanted = target.switches.token_scope_parameter
    names = ("authorizationScope", "scope") if wanted == "either" else (wanted,)
    scope = next((request.query_params[name] for name in names if name in request.query_params), None)
    if scope not in SCOPES:
        raise error(400, "Invalid.Parameter", f"{names[0]} must be one of {', '.join(SCOPES)}")
    return scope


Scope = Annotated[str, Depends(_scope)]

routes = APIRouter(prefix="/{tenant}/target", tags=["Target Admin API"], dependencies=[Depends(_check)])


def _shown(target: Target, token: ProfileToken, scope: str) -> dict[str, Any]:
    left = max(0, int(token.expires - target.environment.clock.now()))
    return {"accessToken": token.value, "tokenType": "bearer", "scope": scope, "expiresIn": left}


@routes.get("/authentication/token")
async def get_token(tenant: str, target: TargetService, scope: Scope) -> Response:
    """Return the token that lives."""
    tokens = target.issued[scope]
    expired = bool(tokens) and tokens[-1].expires <= target.environment.clock.now()
    if not tokens or (expired and not target.switches.expired_token_shown):
        raise error(target.switches.no_token_status, "NotFound", "There is no token")
    return respond(200, _shown(target, tokens[-1], scope), media_type=V1)


@routes.post("/authentication/token")
async def create_token(tenant: str, target: TargetService, scope: Scope) -> Response:
    """Create a token; the one before is dead."""
    required = target.settings["enableProfileApiAuthentication"]
    if target.switches.token_requires_authentication and not required:
        raise error(400, "Invalid.State", "Authentication is not required")
    body = _shown(target, target.issue(scope), scope)
    return respond(target.switches.token_created_status, body, media_type=V1)


@routes.get("/clients/settings")
async def get_settings(tenant: str, target: TargetService) -> Response:
    """Return the settings."""
    return respond(200, target.settings, media_type=V1)


@routes.patch("/clients/settings")
async def patch_settings(request: Request, tenant: str, target: TargetService) -> Response:
    """Change some settings."""
    status = target.switches.patch_status
    if status != 200:
        raise error(status, "NotAllowed", "Request method 'PATCH' not supported")
    _change(target, target.settings | check_settings(await request.json()))
    return respond(200, target.settings, media_type=V1)


@routes.put("/clients/settings")
async def put_settings(request: Request, tenant: str, target: TargetService) -> Response:
    """Replace the settings."""
    resets = target.switches.put_resets_omitted_settings
    left_out = SETTINGS | {"enableProfileApiAuthentication": False} if resets else target.settings
    _change(target, left_out | check_settings(await request.json()))
    return respond(200, target.settings, media_type=V1)


def _change(target: Target, settings: dict[str, Any]) -> None:
    target.settings = settings
    drops = target.switches.disabling_authentication_drops_token
    if drops and not settings["enableProfileApiAuthentication"]:
        target.issued["profile_api"].clear()
