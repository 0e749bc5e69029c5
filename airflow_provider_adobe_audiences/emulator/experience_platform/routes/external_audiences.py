# SPDX-License-Identifier: Apache-2.0
"""External audiences (AIS): ``/data/core/ais/external-audience``."""

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
from airflow_provider_adobe_audiences.emulator.experience_platform.models.external_audiences import (
    DAY,
    ExternalAudience,
    Run,
    shown_fields,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import (
    Body,
    ExternalAudienceBody,
    ExternalAudienceChangeBody,
    RunBody,
    problem_of,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described

from .ais import BAD_REQUEST, BASES, read_object

SHOWN = (
    *("description", "fields", "ttlInDays", "labels", "audienceType", "originName"),
    *("createdAt", "createdBy", "updatedAt", "updatedBy"),
)

_routes = APIRouter()


async def _read(request: Request, caller: Caller, shape: type[Body]) -> dict[str, Any]:
    body = await read_object(request, caller)
    problem = problem_of(shape, body)
    if problem:
        raise ais_error(BAD_REQUEST, problem, caller)
    return body


@_routes.post("", openapi_extra=described(body=ExternalAudienceBody))
@_routes.post("/", openapi_extra=described(body=ExternalAudienceBody))
async def create_external_audience(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Begin to create an external audience."""
    body = await _read(request, caller, ExternalAudienceBody)
    if body["sourceSpec"].get("params", body["sourceSpec"]).get("cloudType") is None:
        _check_cloud_type(platform, caller)
    operation = platform.external_audiences.create(caller, body)
    response = {"operationId": operation.id, "operationDetails": _details(body)}
    return respond(platform.switches.external_create_status, response)


def _check_cloud_type(platform: ExperiencePlatform, caller: Caller) -> None:
    if platform.switches.external_cloud_type_required:
        raise ais_error(BAD_REQUEST, "sourceSpec.params.cloudType is required.", caller)


@_routes.get("/operations/{operation_id}")
async def get_operation(operation_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Return how far the creation is."""
    external = platform.external_audiences
    operation = external.operation(caller, operation_id)
    external.settle()
    status = external.status(operation.work)
    started = int(operation.work.started)
    body = {
        "operationId": operation.id,
        "status": status,
        "operationDetails": _details(operation.body),
        "createdBy": operation.caller.user,
        "createdAt": started,
        "updatedBy": operation.caller.user,
        "updatedAt": operation.finished or started,
    }
    if operation.audience is not None:
        body |= {"audienceName": operation.body["name"], "audienceId": operation.audience.id}
    return respond(200, body)


@_routes.patch("/{audience_id}", openapi_extra=described(body=ExternalAudienceChangeBody))
async def patch_external_audience(
    request: Request, audience_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Change an external audience."""
    audience = platform.external_audiences.find(caller, audience_id)
    body = await _read(request, caller, ExternalAudienceChangeBody)
    document = audience.document
    document |= {name: body[name] for name in ("description", "labels") if name in body}
    if "ttlInDays" in body:
        document["ttlInDays"] = int(body["ttlInDays"])
    labels = {change["name"]: change.get("labels", []) for change in body.get("fields", [])}
    document["fields"] = [
        one | {"labels": labels[one["name"]]} if one["name"] in labels else one for one in document["fields"]
    ]
    document["updatedAt"] = int(platform.environment.clock.now())
    document["updatedBy"] = caller.user
    return respond(200, _flat(audience))


@_routes.post("/extend-ttl/{audience_id}")
async def extend_external_audience(audience_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Let an external audience live longer, by its time to live."""
    audience = platform.external_audiences.find(caller, audience_id)
    audience.expires += audience.document["ttlInDays"] * DAY
    return respond(200, {"audienceId": audience.id, "name": audience.document["name"]})


@_routes.delete("/{audience_id}")
@_routes.delete("/{audience_id}/")
async def delete_external_audience(audience_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Delete an external audience."""
    audience = platform.external_audiences.find(caller, audience_id)
    platform.external_audiences.remove(audience)
    return respond(204)


@_routes.post("/{audience_id}/run", openapi_extra=described(body=RunBody))  # Adobe's pages differ
@_routes.post("/{audience_id}/runs", openapi_extra=described(body=RunBody))
async def start_run(
    request: Request, audience_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Begin to ingest an external audience."""
    external = platform.external_audiences
    audience, body = external.find(caller, audience_id), await _read(request, caller, RunBody)
    refusal = external.guardrail(audience) if platform.switches.external_guardrails else None
    if refusal:
        raise ais_error("100960-422", refusal, caller)
    run = Run(str(uuid.uuid4()), body, external.start(), caller.user)
    audience.runs[run.id] = run
    return respond(200, _run(audience, run))


@_routes.get("/{audience_id}/runs")
async def list_runs(audience_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """List the runs of an external audience, the newest first."""
    external = platform.external_audiences
    audience = external.find(caller, audience_id)
    runs = [
        _run(audience, run) | {"status": external.run_status(run, poll=False)}
        for run in reversed(audience.runs.values())
    ]
    return respond(200, {"runs": runs})


@_routes.get("/{audience_id}/runs/{run_id}")
async def get_run(audience_id: str, run_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Return how far a run is."""
    external = platform.external_audiences
    audience = external.find(caller, audience_id)
    if run_id not in audience.runs:
        raise ais_error("100940-404", f"There is no run {run_id}.", caller)
    run = audience.runs[run_id]
    status = external.run_status(run, poll=True)
    stages = [
        {"stage": stage, "status": status, "flowRunId": str(uuid.uuid5(uuid.UUID(run.id), stage))}
        for stage in ("DATASET_INGEST", "PROFILE_STORE_INGEST")
    ]
    return respond(200, _run(audience, run) | {"status": status, "details": stages})


def _details(body: dict[str, Any]) -> dict[str, Any]:
    fields = shown_fields(body["fields"])
    days = {"ttlInDays": int(body["ttlInDays"])} if "ttlInDays" in body else {}
    return body | {"fields": fields} | days


def _flat(audience: ExternalAudience) -> dict[str, Any]:
    document = audience.document
    shown = {name: document[name] for name in SHOWN if name in document}
    source = document["sourceSpec"].get("params", document["sourceSpec"])
    return shown | {"audienceId": audience.id, "audienceName": document["name"], "sourceSpec": source}


def _run(audience: ExternalAudience, run: Run) -> dict[str, Any]:
    times = ("dataFilterStartTime", "dataFilterEndTime")
    return {
        "audienceName": audience.document["name"],
        "audienceId": audience.id,
        "runId": run.id,
        "differentialIngestion": True,
        **{name: run.body[name] for name in times if name in run.body},
        # Adobe's page takes one name and returns the other.
        **({"publicKeyId": run.body["signVerificationKeyId"]} if "signVerificationKeyId" in run.body else {}),
        "createdAt": int(run.work.started),
        "createdBy": run.created_by,
    }


routes = APIRouter(tags=["External audiences"])
for _base in BASES:
    for _spelling in ("/external-audience", "/external-audiences"):  # Adobe's pages differ
        routes.include_router(_routes, prefix=_base + _spelling)
