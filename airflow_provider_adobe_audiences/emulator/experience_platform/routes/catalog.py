# SPDX-License-Identifier: Apache-2.0
"""Catalog API: ``/data/foundation/catalog``."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.responses import respond

#: Filters that compare a property of the batch.
EQUAL = ("externalId", "status", "createdClient", "createdUser", "updatedUser", "version")
NUMBERS = ("created", "updated", "started", "completed", "recordCount", "failedRecordCount", "size")
MAX_LIMIT = 100

routes = APIRouter(prefix="/data/foundation/catalog", tags=["Catalog"])


@routes.get("/batches/{batch_id}")
async def get_batch(batch_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Look a batch up."""
    batch = platform.batches.find(caller, batch_id)
    if batch is None:
        raise not_found("Batch not found.")
    return respond(200, {batch.id: describe(platform, batch, platform.batches.poll(batch))})


@routes.get("/batches")
async def list_batches(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """List batches, filtered, sorted and in pages."""
    batches, query = platform.batches, request.query_params
    matching = [
        (batch, document)
        for batch in batches.of(caller)
        if query.get("batch") in (None, batch.id) and query.get("dataSet") in (None, batch.dataset_id)
        for document in [describe(platform, batch, batches.status(batch))]
        if _matches(document, query)
    ]
    direction, _, names = (query.get("orderBy") or query.get("sort") or "desc:created").partition(":")
    matching.reverse()  # the newest first among equals
    for name in reversed((names or "created").split(",")):
        matching.sort(
            key=lambda pair: (pair[1].get(name) is None, pair[1].get(name) or 0),
            reverse=direction == "desc",
        )
    start, limit = _whole(query, "start", 0), _whole(query, "limit", platform.switches.catalog_limit)
    if not 1 <= limit <= MAX_LIMIT:
        raise bad_request(f"limit must be from 1 to {MAX_LIMIT}.")
    kept = {name for name in (query.get("properties") or "").split(",") if name}
    found = {}
    for batch, _ in matching[start : start + limit]:
        document = describe(platform, batch, batches.poll(batch))
        found[batch.id] = {name: value for name, value in document.items() if not kept or name in kept}
    return respond(200, found)


@routes.get("/dataSets/{dataset_id}")
async def get_dataset(dataset_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Look a dataset up."""
    known = platform.batches.dataset(dataset_id)
    if known is None:
        raise not_found("DataSet not found.")
    document = {
        "name": known.name,
        "imsOrg": caller.org_id,
        "version": "1.0.0",
        "tags": {"unifiedProfile": ["enabled:true"]},
    }
    return respond(200, {known.id: document})


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
    if batch.ended is None:
        return document
    document["completed"] = batch.ended
    if batch.outcome is not None and batch.state in {"completed", "reverted"}:
        tags["acp_finalized_time"] = [str(batch.ended)]
        document |= _counted(batch, batch.outcome)
        if batch.outcome.failed:
            base = f"{platform.url}/data/foundation/export/batches"
            document["failedBatchLocation"] = f"{base}/{batch.id}/failed"
    return document


def _counted(batch: Batch, outcome: Outcome) -> dict[str, Any]:
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


def _matches(document: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    if any(name in query and str(document.get(name)) not in query[name].split(",") for name in EQUAL):
        return False
    if any(name in query and document.get(name) != _whole(query, name, 0) for name in NUMBERS):
        return False
    if "createdAfter" in query and not document["created"] > _whole(query, "createdAfter", 0):
        return False
    if "createdBefore" in query and not document["created"] < _whole(query, "createdBefore", 0):
        return False
    if "tags" in query and not any(tag in document["tags"] for tag in query["tags"].split(",")):
        return False
    name, tilde, pattern = query.get("property", "").partition("~")
    try:
        return not tilde or re.search(pattern, str(document.get(name, ""))) is not None
    except re.error as error:
        raise bad_request(f"property is not a regular expression: {error}") from None


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_request(f"{name} must be a whole number, not {text[:100]!r}.")
    return int(text)
