# SPDX-License-Identifier: Apache-2.0
"""Bulk profile update of Target."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.routing import described
from airflow_provider_adobe_audiences.emulator.target.bulk import BatchRefused, parse_batch
from airflow_provider_adobe_audiences.emulator.target.dependencies import TargetService
from airflow_provider_adobe_audiences.emulator.target.edge import FORBIDDEN, is_admitted
from airflow_provider_adobe_audiences.emulator.target.errors import xml
from airflow_provider_adobe_audiences.emulator.target.models import Batch, Target

UPDATE = described(body={"type": "string"}, media_type="application/x-www-form-urlencoded")
STATUS = described(query=["batchId", "showDetails"])

routes = APIRouter(prefix="/m2/{client}", tags=["Target bulk profile update"])


@routes.post("/profile/batchUpdate", openapi_extra=UPDATE)
async def update_batch_v1(request: Request, client: str, target: TargetService) -> Response:
    """Update profiles that exist."""
    return await _update(request, client, target, 1)


@routes.post("/v2/profile/batchUpdate", openapi_extra=UPDATE)
async def update_batch_v2(request: Request, client: str, target: TargetService) -> Response:
    """Update profiles, and create those that do not exist."""
    return await _update(request, client, target, 2)


async def _update(request: Request, client: str, target: Target, version: int) -> Response:
    body = bytearray()
    async for piece in request.stream():
        body += piece
    if not is_admitted(request, target, "batchUpdate"):
        return xml(FORBIDDEN)
    try:
        key, rows = await asyncio.to_thread(parse_batch, bytes(body))
        if target.switches.empty_bulk_batch == "refuse" and not any(values for _, values in rows):
            raise BatchRefused("No values in the batch")
    except BatchRefused as reason:
        fields = {"success": "false", "batchStatus": "", "message": reason}
        return xml(fields, status=target.switches.refused_batch_status)
    batch = target.accept(version, client, bytes(body), rows, key)
    url, message = target.status_url(batch, client), "Batch submitted for processing"
    return xml({"success": "true", "batchStatus": url, "message": message})


@routes.get("/profile/batchStatus", openapi_extra=STATUS)
@routes.get("/v2/profile/batchStatus", openapi_extra=STATUS)
async def get_batch_status(request: Request, client: str, target: TargetService) -> Response:
    """Return how far a batch is."""
    if not is_admitted(request, target, "batchStatus"):
        return xml(FORBIDDEN)
    batch = target.remembered(request.query_params.get("batchId", ""))
    if batch is None:
        fields = {"success": "false", "message": "Unknown batchId"}
        return xml(fields, status=target.switches.unknown_batch_status)
    batch.polls += 1
    ended = batch.polls > target.switches.profile_batch_polls
    shown: dict[str, Any] = {
        "batchId": batch.batch_id,
        "status": batch.outcome if ended else "incomplete",
        "batchSize": batch.rows,
    }
    if request.query_params.get("showDetails") != "true":
        return xml(shown)
    return _details(target, batch, shown, done=ended and batch.outcome == "complete")


def _details(target: Target, batch: Batch, shown: dict[str, Any], *, done: bool) -> Response:
    shown |= {
        "consumedCount": batch.rows if done else 0,
        "successfulUpdates": batch.successful if done else 0,
        "profilesNotFound": batch.not_found if done else 0,
        "failedUpdates": len(batch.failed) if done else 0,
    }
    listed = batch.failed if done and target.switches.profile_batch_failed_rows_listed else []
    rows = (f"<profile><id>{escape(one)}</id><status>failed</status></profile>" for one in listed)
    return xml(shown, "".join(rows))
