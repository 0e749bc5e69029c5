# SPDX-License-Identifier: Apache-2.0
"""Single profiles of Target."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.requests import form_fields
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import described
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService
from airflow_provider_adobe_audiences.emulator.target.edge import FORBIDDEN, is_admitted
from airflow_provider_adobe_audiences.emulator.target.errors import xml
from airflow_provider_adobe_audiences.emulator.target.models import Target

MAX_QUERY_BYTES = 8 * 1024
MAX_BODY_BYTES = 60 * 1024

IDENTITY = described(query=["mboxPC", "mbox3rdPartyId"])
CLIENT = described(query=["client"])

routes = APIRouter(tags=["Target profiles"])


@routes.get("/m2/{client}/profile/update", openapi_extra=IDENTITY)
@routes.post("/m2/{client}/profile/update", openapi_extra=IDENTITY)
async def update_profile(request: Request, client: str, target: TargetService) -> Response:
    """Update one profile."""
    if not is_admitted(request, target, "update"):
        return xml({"success": "false", "message": FORBIDDEN["message"]})
    values = dict(request.query_params)
    size, limit = len(request.url.query), MAX_QUERY_BYTES
    if request.method == "POST":
        size, limit = len(await request.body()), MAX_BODY_BYTES
        values |= await form_fields(request)
    if size > limit:
        return xml({"success": "false", "message": f"The request is larger than {limit} bytes"})
    third_party = "mbox3rdPartyId" in values
    identity = values["mbox3rdPartyId"] if third_party else values.get("mboxPC", "")
    if not identity:
        return xml({"success": "false", "message": "mboxPC or mbox3rdPartyId is required"})
    known = target.profiles.get(("thirdPartyId" if third_party else "pcId", identity))
    if known is not None:
        prefix = "profile."
        known |= {name[len(prefix) :]: text for name, text in values.items() if name.startswith(prefix)}
    return xml({"success": "true", "pcId": identity, "message": "Request successfully submitted"})


@routes.get("/rest/v1/profiles/{profile_id}", openapi_extra=CLIENT)
async def get_profile(request: Request, profile_id: str, target: TargetService) -> Response:
    """Fetch a profile by Target's own id."""
    return _fetch(request, target, "pcId", "mboxPC", profile_id)


@routes.get("/rest/v1/profiles/thirdPartyId/{profile_id}", openapi_extra=CLIENT)
async def get_profile_by_third_party_id(request: Request, profile_id: str, target: TargetService) -> Response:
    """Fetch a profile by a third party id."""
    return _fetch(request, target, "thirdPartyId", "third party id", profile_id)


@routes.get("/rest/v1/profiles/marketingCloudVisitorId/{profile_id}", openapi_extra=CLIENT)
async def get_profile_by_visitor_id(request: Request, profile_id: str, target: TargetService) -> Response:
    """Fetch a profile by an Experience Cloud id."""
    return _fetch(request, target, "marketingCloudVisitorId", "marketing cloud visitor id", profile_id)


def _fetch(request: Request, target: Target, kind: str, words: str, profile_id: str) -> Response:
    client = request.query_params.get("client", "")
    is_admitted(request, target, "fetch")
    attributes = target.read(kind, profile_id)
    if attributes is None:
        message = f"No profile found for client {client} with {words}={profile_id}"
        raise ErrorResponse(404, {"status": 404, "message": message})
    now = datetime.fromtimestamp(target.environment.clock.now(), UTC).isoformat(timespec="milliseconds")
    values = {name: {"value": value, "modifiedAt": now} for name, value in attributes.items()}
    body = {
        "client": client,
        "visitorId": profile_id,
        "modifiedAt": now,
        "profileAttributes": values,
    }
    return respond(200, body)
