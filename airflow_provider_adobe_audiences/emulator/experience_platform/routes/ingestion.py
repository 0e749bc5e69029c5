# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion API: ``/data/foundation/import``, batches."""

from __future__ import annotations

import csv
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import (
    bad_request,
    not_found,
    platform_error,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.models.batches import Batch
from airflow_provider_adobe_audiences.emulator.experience_platform.models.records import (
    BrokenFileError,
    InputFormat,
    preview,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import (
    BatchBody,
    InputFormatBody,
    problem_of,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.requests import json_object
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described

PREVIEW_ROWS = 10
PREVIEW = ("format", "isMultiLineJson", "delimiter", "nrow")
FORMATS = {"json", "parquet", "csv"}

routes = APIRouter(prefix="/data/foundation/import", tags=["Batch ingestion"])


def find_batch(
    platform: ExperiencePlatform, caller: Caller, batch_id: str, dataset_id: str | None = None
) -> Batch:
    """Return a batch of the caller's sandbox.

    :param dataset_id: the dataset that it must belong to; none: any.
    :raises ErrorResponse: 404 when there is none.
    """
    batch = platform.batches.find(caller, batch_id)
    if batch is None:
        raise not_found(f"Batch {batch_id} not found.")
    if dataset_id is not None and dataset_id != batch.dataset_id:
        raise not_found(f"Dataset {dataset_id} is not part of batch {batch_id}.")
    return batch


@routes.post("/batches", openapi_extra=described(body=BatchBody))
async def create_batch(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Create a batch."""
    batches, switches = platform.batches, platform.switches
    body = await json_object(request)
    written = _check_create(body, switches.input_format_required)
    if platform.datasets.find(body["datasetId"], caller) is None:
        raise bad_request(f"DataSet {body['datasetId']} not found.")
    external_id = body.get("externalId")
    existing = batches.by_external_id(caller.org_id, external_id) if external_id else None
    if existing is None or switches.external_id_duplicate == "accept":
        return respond(201, _created(batches.create(caller, body, written), "loading"))
    if switches.external_id_duplicate == "existing":
        return respond(201, _created(existing, batches.status(existing)))
    message = f"A batch with externalId {external_id} exists."
    if switches.external_id_duplicate == "conflict":
        raise platform_error(409, "ConflictError", message)
    raise bad_request(message)


@routes.post("/batches/{batch_id}", openapi_extra=described(query=["action"]))
async def change_batch(
    request: Request, batch_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Complete, abort, fail or revert a batch."""
    batch = find_batch(platform, caller, batch_id)
    action = request.query_params.get("action", "").upper()
    actions = {"COMPLETE": _complete, "ABORT": _abort, "FAIL": _fail, "REVERT": _revert}
    if action not in actions:
        raise bad_request("action must be COMPLETE, ABORT, FAIL or REVERT.")
    actions[action](platform, batch, platform.batches.status(batch))
    if platform.switches.action_response == "empty":
        return respond(200)
    status = "processing" if batch.state == "completed" else platform.batches.status(batch)
    return respond(200, _created(batch, status))


def _complete(platform: ExperiencePlatform, batch: Batch, status: str) -> None:
    if batch.state == "completed":
        return  # idempotent
    unfinished = [file.name for file in batch.files.values() if not file.complete]
    if status != "loading":
        raise bad_request(f"Batch {batch.id} is {status}: it cannot be completed.")
    if unfinished and platform.switches.complete_with_open_files == "refuse":
        raise bad_request(f"Files without COMPLETE: {', '.join(unfinished)}.")
    if not batch.files and platform.switches.complete_without_files == "refuse":
        raise bad_request(f"Batch {batch.id} has no files.")
    for name in unfinished:
        del batch.files[name]
    platform.batches.complete(batch)


def _abort(platform: ExperiencePlatform, batch: Batch, status: str) -> None:
    switches = platform.switches
    if status == "aborted" and switches.repeated_abort == "accept":
        return
    running = switches.abort_window == "running" and platform.batches.running(batch)
    if status != "loading" and not running:
        raise bad_request(f"Batch {batch.id} is {status}: it cannot be aborted.")
    platform.batches.set_state(batch, "aborted")


def _fail(platform: ExperiencePlatform, batch: Batch, status: str) -> None:
    if status != "loading":
        raise bad_request(f"Batch {batch.id} is {status}: it cannot be failed.")
    platform.batches.set_state(batch, "failed")


def _revert(platform: ExperiencePlatform, batch: Batch, status: str) -> None:
    if not platform.batches.succeeded(batch):
        raise bad_request(f"Batch {batch.id} is {status}: only a successful batch can be reverted.")
    platform.batches.set_state(batch, "reverted")


@routes.get("/batches/{batch_id}/datasets/{dataset_id}/preview", openapi_extra=described(query=PREVIEW))
async def preview_batch(
    request: Request, batch_id: str, dataset_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Return the first rows of each file of a batch."""
    batch = find_batch(platform, caller, batch_id, dataset_id)
    query = request.query_params
    if query.get("format", "").lower() not in FORMATS:
        raise bad_request("format must be json, parquet or csv.")
    written = InputFormat(
        query["format"].lower(), query.get("isMultiLineJson") == "true", query.get("delimiter", ",")
    )
    count = query.get("nrow", "0")
    if len(written.delimiter) != 1 or not count.isascii() or not count.isdigit() or len(count) > 9:
        raise bad_request("delimiter is one character, nrow a whole number.")
    maximum = int(count) or PREVIEW_ROWS
    try:
        rows = [row for _, path in batch.paths() for row in preview(path, written, maximum)]
    except (BrokenFileError, csv.Error, ValueError) as error:
        raise bad_request(f"There is nothing to preview: {error}") from None
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [{"cid": str(number), "name": name} for number, name in enumerate(names)]
    shown = [{str(names.index(name)): str(value) for name, value in row.items()} for row in rows]
    parameters = {"format": written.format, "delimiter": written.delimiter}
    return respond(200, {"formatParams": parameters, "preview": {"columns": columns, "rows": shown}})


def _created(batch: Batch, status: str) -> dict[str, Any]:
    """Return a batch as the guides show it in the response to its creation."""
    body: dict[str, Any] = {
        "id": batch.id,
        "imsOrg": batch.caller.org_id,
        "updated": 0,
        "status": status,
        "created": 0,
        "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        "version": "1.0.0",
        "tags": batch.body.get("tags") or {},
        "createdUser": batch.caller.user,
        "updatedUser": batch.caller.user,
    }
    return body | ({"replay": batch.replay} if batch.replay else {})


def _check_create(body: dict[str, Any], format_required: bool) -> InputFormat:
    """Return the input format of a create request, or raise its refusal."""
    problem = problem_of(BatchBody, body)
    if problem or (body.get("inputFormat") is None and format_required):
        raise bad_request(problem or "inputFormat is required.")
    given = InputFormatBody.model_validate(body.get("inputFormat") or {"format": "parquet"})
    return InputFormat(
        format=given.format,
        multi_line_json=given.isMultiLineJson in (True, "true"),
        delimiter=given.delimiter,
        quote=given.quote,
        escape=given.escape,
        charset=given.charset,
        header=given.header in (True, "true"),
    )
