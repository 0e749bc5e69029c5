# SPDX-License-Identifier: Apache-2.0
"""Catalog API: ``/data/foundation/catalog``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.answers import respond
from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .batches import Batch
from .problems import problem

if TYPE_CHECKING:
    from . import ExperiencePlatform

BASE = "/data/foundation/catalog"
#: Filters that compare a property of the answer.
EQUAL = ("externalId", "status", "createdClient", "createdUser", "updatedUser", "version")
NUMBERS = ("created", "updated", "started", "completed", "recordCount", "failedRecordCount", "size")
LIMIT = 100


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter(prefix=BASE)
    batches = platform.batches
    caller = Depends(platform.caller)

    def show(batch: Batch, status: str) -> dict[str, Any]:
        return describe(platform, batch, status)

    @routes.get("/batches/{batch_id}")
    async def get(batch_id: str, who: Caller = caller) -> Response:
        batch = batches.find(who, batch_id)
        if batch is None:
            raise problem(404, "NotFoundError", "Batch not found.")
        return respond(200, {batch.id: show(batch, batches.poll(batch))})

    @routes.get("/batches")
    async def find(request: Request, who: Caller = caller) -> Response:
        asked = request.query_params
        matching = [
            (batch, document)
            for batch in batches.of(who)
            if asked.get("batch") in (None, batch.id) and asked.get("dataSet") in (None, batch.dataset_id)
            for document in [show(batch, batches.status(batch))]
            if _matches(document, asked)
        ]
        direction, _, names = (asked.get("orderBy") or asked.get("sort") or "desc:created").partition(":")
        matching.reverse()  # the newest first among equals
        for name in reversed((names or "created").split(",")):
            matching.sort(
                key=lambda pair: (pair[1].get(name) is None, pair[1].get(name) or 0),
                reverse=direction == "desc",
            )
        start, limit = _whole(asked, "start", 0), _whole(asked, "limit", platform.switches.catalog_limit)
        if not 1 <= limit <= LIMIT:
            raise problem(400, "BadRequestError", f"limit must be from 1 to {LIMIT}.")
        kept = {name for name in (asked.get("properties") or "").split(",") if name}
        found = {}
        for batch, _ in matching[start : start + limit]:
            document = show(batch, batches.poll(batch))
            found[batch.id] = {name: value for name, value in document.items() if not kept or name in kept}
        return respond(200, found)

    @routes.get("/dataSets/{dataset_id}")
    async def dataset(dataset_id: str, who: Caller = caller) -> Response:
        known = batches.dataset(dataset_id)
        if known is None:
            raise problem(404, "NotFoundError", "DataSet not found.")
        document = {
            "name": known.name,
            "imsOrg": who.org_id,
            "version": "1.0.0",
            "tags": {"unifiedProfile": ["enabled:true"]},
        }
        return respond(200, {known.id: document})

    return routes


def describe(platform: ExperiencePlatform, batch: Batch, status: str) -> dict[str, Any]:
    """Return a batch as Catalog shows it."""
    user = f"{batch.caller.client_id}@techacct.adobe.com"
    tags = {name: list(values) for name, values in (batch.asked.get("tags") or {}).items()}
    if batch.diagnostics:
        tags["acp_enableErrorDiagnostics"] = ["true"]
    if batch.asked.get("partialIngestionPercent") is not None:
        tags["acp_partialIngestionPercent"] = [str(batch.percent)]
    document: dict[str, Any] = {
        "status": status,
        "imsOrg": batch.caller.org_id,
        "externalId": batch.external_id,
        "created": batch.created,
        "createdClient": batch.caller.client_id,
        "createdUser": user,
        "updated": batch.updated,
        "updatedUser": user,
        "version": batch.version,
        "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        "inputFormat": {"format": batch.written.format},
        "tags": tags,
    }
    if batch.asked.get("replay"):
        from .batch_import import created

        document["replay"] = created(batch, status)["replay"]
    if batch.said == "completed":
        document["started"] = int(batch.completed * 1000)
    if batch.ended is None:
        return document
    document["completed"] = batch.ended
    outcome = batch.outcome
    if outcome is None or batch.said not in {"completed", "reverted"}:
        return document
    tags["acp_finalized_time"] = [str(batch.ended)]
    out = 0 if outcome.failed else outcome.records_out
    document |= {
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
    if outcome.failed:
        document["failedBatchLocation"] = f"{platform.url}/data/foundation/export/batches/{batch.id}/failed"
    return document


def _matches(document: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    if any(name in asked and str(document.get(name)) not in asked[name].split(",") for name in EQUAL):
        return False
    if any(name in asked and document.get(name) != _whole(asked, name, 0) for name in NUMBERS):
        return False
    if "createdAfter" in asked and not document["created"] > _whole(asked, "createdAfter", 0):
        return False
    if "createdBefore" in asked and not document["created"] < _whole(asked, "createdBefore", 0):
        return False
    if "tags" in asked and not any(tag in document["tags"] for tag in asked["tags"].split(",")):
        return False
    name, tilde, pattern = asked.get("property", "").partition("~")
    try:
        return not tilde or re.search(pattern, str(document.get(name, ""))) is not None
    except re.error as error:
        raise problem(400, "BadRequestError", f"property is not a regular expression: {error}") from None


def _whole(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise problem(400, "BadRequestError", f"{name} must be a whole number, not {text!r}.")
    return int(text)
