# SPDX-License-Identifier: Apache-2.0
"""Control API of Target."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import CONTROL
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService

routes = APIRouter(prefix=f"{CONTROL}/target", tags=["Control"])


@routes.post("/profile-token")
async def create_profile_token(target: TargetService) -> Response:
    """Create a token, as somebody does with "Generate New Profile Authentication Token" in Target's UI."""
    target.issue()
    return respond(204)
