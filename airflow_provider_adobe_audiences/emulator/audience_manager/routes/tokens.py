# SPDX-License-Identifier: Apache-2.0
"""The token endpoint of the legacy password grant."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.audience_manager.endpoints import Manager
from airflow_provider_adobe_audiences.emulator.requests import form_fields
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described, object_of

FORM = object_of("grant_type", "username", "password", "refresh_token")

routes = APIRouter(tags=["Legacy authentication"])


@routes.post(
    "/oauth/token", openapi_extra=described(body=FORM, media_type="application/x-www-form-urlencoded")
)
async def create_legacy_token(request: Request, manager: Manager) -> Response:
    """Issue an access token for user name and password, or for a refresh token."""
    authorization = request.headers.get("authorization", "")
    response = manager.tokens.grant(authorization, await form_fields(request))
    return respond(200, response, {"cache-control": "no-store", "pragma": "no-cache"})
