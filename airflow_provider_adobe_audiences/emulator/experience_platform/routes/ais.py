# SPDX-License-Identifier: Apache-2.0
"""Audience metadata (AIS): ``/data/core/ais/audiences``."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import ais_error
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import AudienceMetadataBody
from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.requests import json_object
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import described

ACCEPT = "application/vnd.adobe.external.audiences+json; version=2"
#: Adobe's documents differ.
BASES = ("/data/core/ais", "/core/ais")
BAD_REQUEST = "100910-400"

DESCRIPTION = described(body=AudienceMetadataBody, query=["createAudienceMetaOnly"], headers=["accept"])

routes = APIRouter(tags=["Audience metadata"])


@routes.post("/data/core/ais/audiences", openapi_extra=DESCRIPTION)
@routes.post("/core/ais/audiences", openapi_extra=DESCRIPTION)
async def create_audience_metadata(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Create an audience without data."""
    audiences, switches = platform.audiences, platform.switches
    if request.url.path.startswith("/core/ais") and not switches.core_ais_served:
        raise ErrorResponse(404)
    _check_headers(request, switches, caller)
    body = await read_object(request, caller)
    _check_body(body, switches, caller)
    newest = switches.ais_generation == "v4"
    audience_id = body.get("audienceId") if newest else None
    if newest and audience_id is None and switches.ais_audience_id == "required":
        raise ais_error(BAD_REQUEST, "audienceId is required.", caller)
    audience = audiences.duplicate(caller, body["namespace"], audience_id) if audience_id else None
    if audience is not None and switches.ais_duplicate == "conflict":
        message = f"The audience {audience_id} exists in namespace {body['namespace']}."
        raise ais_error("100950-409", message, caller)
    if audience is None or switches.ais_duplicate == "new":
        fields = {name: body.get(name) for name in ("name", "description", "namespace", "originName")}
        audience = audiences.add(caller, audienceId=audience_id or str(uuid.uuid4()), **fields)
    names = ("id", "name", "audienceId") if newest else ("name", "audienceId")
    return respond(200, {name: audience.document[name] for name in names})


def _check_headers(request: Request, switches: ExperiencePlatformSwitches, caller: Caller) -> None:
    flag = request.query_params.get("createAudienceMetaOnly") == "true"
    if not flag and switches.ais_flag_missing == "refuse":
        message = "The query parameter createAudienceMetaOnly=true is required."
        raise ais_error(BAD_REQUEST, message, caller)
    accepted = request.headers.get("accept", "").replace(" ", "").split(",")
    if ACCEPT.replace(" ", "") not in accepted and switches.ais_accept_missing != "ignore":
        status = 406 if switches.ais_accept_missing == "not_acceptable" else 400
        raise ais_error(BAD_REQUEST, f"The header Accept: {ACCEPT} is required.", caller, status)


def _check_body(body: dict[str, Any], switches: ExperiencePlatformSwitches, caller: Caller) -> None:
    for name in ("name", "namespace", "originName"):
        if not isinstance(body.get(name), str) or not body[name].strip():
            raise ais_error(BAD_REQUEST, f"{name} is required.", caller)
    for name in ("description", "audienceId"):
        if body.get(name) is not None and (not isinstance(body[name], str) or not body[name].strip()):
            raise ais_error(BAD_REQUEST, f"{name} must be a text.", caller)
    maximum = switches.ais_max_name_length
    if maximum and len(body["name"]) > maximum:
        raise ais_error(BAD_REQUEST, f"name has more than {maximum} characters.", caller)


async def read_object(request: Request, caller: Caller) -> dict[str, Any]:
    """Return the request's JSON object.

    :raises ErrorResponse: AIS's own 400 when the body is no JSON object.
    """
    try:
        return await json_object(request)
    except ErrorResponse as error:
        raise ais_error(BAD_REQUEST, error.body["message"], caller) from None
