# SPDX-License-Identifier: Apache-2.0
"""Control API of Target."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.requests import json_object, with_clear_errors
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import CONTROL, described, object_of
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService

routes = APIRouter(prefix=f"{CONTROL}/target", tags=["Control"])


@routes.post("/profile-token")
async def create_profile_token(target: TargetService) -> Response:
    """Create a token, as somebody does with "Generate New Profile Authentication Token" in Target's UI."""
    target.issue()
    return respond(204)


@routes.post(
    "/audiences",
    openapi_extra=described(body=object_of("name", "description", "origin")),
)
async def set_up_audience(request: Request, target: TargetService) -> Response:
    """Add an audience as if it had always been there."""
    body = await json_object(request)
    return respond(201, with_clear_errors(lambda: target.add_audience(**body)))
