# SPDX-License-Identifier: Apache-2.0
"""Catalog API: ``/data/foundation/catalog``, batches."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import bad_request, not_found
from airflow_provider_adobe_audiences.emulator.experience_platform.models.batches import Batch
from airflow_provider_adobe_audiences.emulator.experience_platform.models.ingestion import Outcome
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import BatchPatchBody, problem_of
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.requests import json_object
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import described

from .catalog_query import LISTS, project, select

#: Filters that compare a property of the batch.
EQUAL = ("externalId", "status", "createdClient", "createdUser", "updatedUser", "version")
LAST = ("lastBatchId", "lastBatchStatus", "lastSuccessfulBatchId", "lastFailedBatchId")
NUMBERS = ("created", "updated", "started", "completed", "recordCount", "failedRecordCount", "size")
#: What a change of the status means.
STATES = {"failure": "failed", "inactive": "reverted"}

routes = APIRouter(prefix="/data/foundation/catalog", tags=["Catalog"])


@routes.get("/batches/{batch_id}", openapi_extra=described(query=["properties", "aggregate"]))
async def get_batch(request: Request, batch_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Look a batch up."""
    batch = _find(platform, caller, batch_id)
    document = describe(platform, batch, platform.batches.poll(batch))
    return respond(200, {batch.id: project(document, request.query_params)})


@routes.get("/batch/{batch_id}")
async def get_batch_by_singular_path(
    request: Request, batch_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Look a batch up, by the path that one page prints."""
    if not platform.switches.catalog_singular_path:
        raise platform.refuse(request, 404)
    return await get_batch(request, batch_id, platform, caller)


@routes.get("/batches", openapi_extra=described(query=["batch", "dataSet", *LISTS, *EQUAL, *NUMBERS]))
async def list_batches(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """List batches, filtered, sorted and in pages."""
    batches, query = platform.batches, request.query_params
    datasets = query["dataSet"].split(",") if "dataSet" in query else None
    ids = _batch_filter(query["batch"], platform.switches.catalog_batch_filter) if "batch" in query else None
    found = [
        (batch.id, describe(platform, batch, batches.status(batch)))
        for batch in batches.of(caller)
        if (ids is None or batch.id in ids) and (datasets is None or batch.dataset_id in datasets)
    ]
    page = select(found, query, equal=EQUAL, numbers=NUMBERS, limit=platform.switches.catalog_limit)
    shown = {}
    for number, _ in page:
        batch = batches.batches[number]
        shown[number] = project(describe(platform, batch, batches.poll(batch)), query)
    return respond(200, shown)


@routes.get("/lastBatches", openapi_extra=described(query=["dataSetId", *LISTS, *LAST]))
async def list_last_batches(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Return the newest batches of each dataset."""
    query, batches = request.query_params, platform.batches
    wanted = query["dataSetId"].split(",") if "dataSetId" in query else None
    ids = dict.fromkeys(batch.dataset_id for batch in batches.of(caller))
    found = [
        (number, {"imsOrg": caller.org_id, "sandboxId": caller.sandbox_id, **batches.last(caller, number)})
        for number in ids
        if wanted is None or number in wanted
    ]
    page = select(found, query, equal=LAST, numbers=NUMBERS[:2], limit=platform.switches.catalog_limit)
    return respond(200, {number: project(document, query) for number, document in page})


@routes.patch("/batches/{batch_id}", openapi_extra=described(body=BatchPatchBody))
async def patch_batch(
    request: Request, batch_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Change what Catalog says of a batch."""
    batch = _find(platform, caller, batch_id)
    try:
        body = await json_object(request)
    except ErrorResponse as error:
        raise bad_request(error.body["message"]) from None
    problem = problem_of(BatchPatchBody, body)
    if problem:
        raise bad_request(problem)
    given = {name: body[name] for name in BatchPatchBody.model_fields if body.get(name) is not None}
    status = given.pop("status", None)
    batch.external_id = given.get("externalId", batch.external_id)
    batch.patched |= given
    if status is not None:
        platform.batches.set_state(batch, STATES.get(status, status))
    platform.batches.touch(batch)
    return respond(200, [f"@/batches/{batch.id}"])


@routes.delete("/batches/{batch_id}")
async def delete_batch(batch_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Delete a batch (deprecated by Adobe)."""
    batch = _find(platform, caller, batch_id)
    platform.batches.set_state(batch, "deleted")
    return respond(200, [f"@/batches/{batch.id}"])


def _batch_filter(text: str, meaning: str) -> set[str] | None:
    """Return the ids that are asked for; None for all."""
    return None if meaning == "ignored" else {text} if meaning == "one" else set(text.split(","))


def _find(platform: ExperiencePlatform, caller: Caller, batch_id: str) -> Batch:
    batch = platform.batches.find(caller, batch_id)
    if batch is None:
        raise not_found("Batch not found.")
    return batch


def describe(platform: ExperiencePlatform, batch: Batch, status: str) -> dict[str, Any]:
    """Return a batch as Catalog shows it."""
    tags = {name: list(values) for name, values in (batch.body.get("tags") or {}).items()}
    if batch.diagnostics:
        tags["acp_enableErrorDiagnostics"] = ["true"]
    if batch.body.get("partialIngestionPercent") is not None:
        tags["acp_partialIngestionPercent"] = [str(batch.percent)]
    document: dict[str, Any] = {
        "status": status,
        "imsOrg": batch.caller.org_id,
        "sandboxId": batch.caller.sandbox_id,
        "externalId": batch.external_id,
        "created": batch.created,
        "createdClient": batch.caller.client_id,
        "createdUser": batch.caller.user,
        "updated": batch.updated,
        "updatedUser": batch.caller.user,
        "version": batch.version,
        "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        "inputFormat": {"format": batch.written.format},
        "tags": tags,
    }
    if batch.replay:
        document["replay"] = batch.replay
    if batch.state == "completed":
        document["started"] = int(batch.completed * 1000)
    if batch.ended is not None:
        document |= {"completed": batch.ended, "errors": []}
    outcome = batch.outcome
    if batch.ended is not None and outcome is not None and batch.state not in ("aborted", "failed"):
        tags["acp_finalized_time"] = [str(batch.ended)]
        document |= _counted(outcome)
        if not _has_metrics(platform, batch, outcome):
            del document["metrics"]
        if outcome.failed:
            base = f"{platform.url}/data/foundation/export/batches"
            document["failedBatchLocation"] = f"{base}/{batch.id}/failed"
    document |= {name: value for name, value in batch.patched.items() if name != "tags"}
    document["tags"] = tags | batch.patched.get("tags", {})
    if platform.switches.catalog_batch_id:
        plain = {name: values[0] if len(values) == 1 else values for name, values in document["tags"].items()}
        document = {"id": batch.id, **document, "tags": plain}
    return document


def _has_metrics(platform: ExperiencePlatform, batch: Batch, outcome: Outcome) -> bool:
    if platform.switches.batch_metrics == "all":
        return True
    return not outcome.failed and batch.written.format != "csv"


def _counted(outcome: Outcome) -> dict[str, Any]:
    """Return what came of the rows of a batch."""
    out = 0 if outcome.failed else outcome.records_out
    return {
        "recordCount": outcome.records_in,
        "failedRecordCount": outcome.records_in - out,
        "size": outcome.bytes_in,
        "errors": outcome.errors,
        "metrics": {
            "inputByteSize": outcome.bytes_in,
            "inputFileCount": outcome.files,
            "inputRecordCount": outcome.records_in,
            "outputByteSize": 0 if outcome.failed else outcome.bytes_in,
            "outputFileCount": 0 if outcome.failed else outcome.files,
            "outputRecordCount": out,
            "partitionCount": 0 if outcome.failed else 1,
            "failedRecordCount": outcome.records_in - out,
        },
    }
