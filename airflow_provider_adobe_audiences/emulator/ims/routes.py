# SPDX-License-Identifier: Apache-2.0
"""The token endpoint of IMS."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.requests import form_fields
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described, object_of

from .models import Ims, error


async def _service(request: Request) -> Ims:
    ims: Ims = request.app.state.ims
    return ims


FORM = object_of("grant_type", "client_id", "client_secret", "scope")
DESCRIPTION = described(body=FORM, media_type="application/x-www-form-urlencoded")

routes = APIRouter(prefix="/ims", tags=["IMS"])


@routes.post("/token/v2", openapi_extra=DESCRIPTION)
@routes.post("/token/v2/", openapi_extra=DESCRIPTION)  # as Adobe's own umapi-client has it
@routes.post("/token/v3", openapi_extra=DESCRIPTION)
@routes.post("/token/v3/", openapi_extra=DESCRIPTION)
async def create_access_token(request: Request, ims: Annotated[Ims, Depends(_service)]) -> Response:
    """Issue an access token; the parameters are in the form or in the query."""
    if ims.throttled():
        retry_after = str(ims.switches.token_retry_after)
        raise error(429, "throttled", "too many token requests", {"retry-after": retry_after})
    parameters = dict(request.query_params) | await form_fields(request)
    return respond(200, ims.grant(parameters), {"cache-control": "no-store"})
