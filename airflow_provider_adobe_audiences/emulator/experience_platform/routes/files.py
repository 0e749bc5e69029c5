# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion API: ``/data/foundation/import``, the files of a batch, whole or in parts."""

from __future__ import annotations

import re

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
    unsupported_media_type,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.models.batches import Batch
from airflow_provider_adobe_audiences.emulator.experience_platform.models.files import (
    ClientDisconnect,
    StoredFile,
    TooLargeError,
    receive,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import BINARY, described

from .ingestion import find_batch

CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")
OCTETS = "application/octet-stream"
FILE = "/batches/{batch_id}/datasets/{dataset_id}/files/{name:any}"

routes = APIRouter(prefix="/data/foundation/import", tags=["Batch ingestion"])


@routes.put(FILE, openapi_extra=described(body=BINARY, media_type=OCTETS))
async def put_file(
    request: Request, batch_id: str, dataset_id: str, name: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Upload a file in one request."""
    _check_octets(request)
    batches, limit = platform.batches, platform.switches.put_limit
    batch = _loading(platform, caller, batch_id, dataset_id)
    message = f"A file of more than {limit} bytes is sent in parts."
    too_large = platform_error(platform.switches.put_limit_status, "PayloadTooLarge", message)
    if limit and int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    path = batches.disk.place()
    try:
        size = await receive(request, path, limit)
    except (TooLargeError, ClientDisconnect) as reason:
        path.unlink(missing_ok=True)
        raise (too_large if isinstance(reason, TooLargeError) else ErrorResponse(400)) from None
    if batches.status(batch) != "loading":
        path.unlink(missing_ok=True)
        raise bad_request(f"Batch {batch_id} takes no more files.")
    before = batch.files.get(name)
    batch.files[name] = StoredFile(name, path, size)
    if before is not None:
        before.path.unlink(missing_ok=True)
    batches.touch(batch)
    return respond(200 if before else platform.switches.put_created_status)


@routes.post(FILE, openapi_extra=described(query=["action"]))
async def change_file(
    request: Request, batch_id: str, dataset_id: str, name: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Begin or end a file that is sent in parts."""
    _check_large_files(platform)
    batch = _loading(platform, caller, batch_id, dataset_id)
    action = request.query_params.get("action", "").upper()
    if action == "INITIALIZE":
        file = StoredFile(name, platform.batches.disk.place(), complete=False)
        batch.files[name] = file
    elif action == "COMPLETE":
        file = _large_file(batch, name)
        problem = None if file.complete else file.gap_or_overlap()
        if problem:
            raise bad_request(f"{name} cannot be completed: {problem}.")
        file.complete = True
    else:
        raise bad_request("action must be INITIALIZE or COMPLETE.")
    platform.batches.touch(batch)
    return _response(platform.switches, 201, file)


@routes.patch(FILE, openapi_extra=described(body=BINARY, media_type=OCTETS, headers=["content-range"]))
async def patch_file(
    request: Request, batch_id: str, dataset_id: str, name: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Upload a part of a file."""
    _check_large_files(platform)
    _check_octets(request)
    switches = platform.switches
    file = _large_file(_loading(platform, caller, batch_id, dataset_id), name)
    if file.complete:
        raise bad_request(f"{name} is complete.")
    content_range = CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
    if content_range is None:
        raise bad_request("Content-Range must be: bytes <from>-<to>.")
    first, last = int(content_range[1]), int(content_range[2])
    length = last - first + 1
    if length < 1 or length > switches.part_limit:
        raise bad_request(f"A part has 1 to {switches.part_limit} bytes, not {length}.")
    try:
        size = await receive(request, file.path, length, offset=first)
    except (TooLargeError, ClientDisconnect, OSError):
        raise bad_request(f"The body is not the {length} bytes of its Content-Range.") from None
    if size != length:
        raise bad_request(f"The body has {size} bytes, its Content-Range {length}.")
    if (first, last) not in file.parts or switches.duplicate_part == "overlap":
        file.parts.append((first, last))
    file.size = max(file.size, last + 1)
    headers = _range(file, switches) if switches.large_file_responses == "spec" else None
    return _response(switches, 200, file, headers)


@routes.head(FILE)
async def head_file(
    batch_id: str, dataset_id: str, name: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Tell how much of a file has come in."""
    _check_large_files(platform)
    batch = find_batch(platform, caller, batch_id, dataset_id)
    return respond(200, None, _range(_large_file(batch, name), platform.switches))


def _loading(platform: ExperiencePlatform, caller: Caller, batch_id: str, dataset_id: str) -> Batch:
    batch = find_batch(platform, caller, batch_id, dataset_id)
    status = platform.batches.status(batch)
    if status != "loading":
        raise bad_request(f"Batch {batch_id} is {status}: it takes no more files.")
    return batch


def _check_large_files(platform: ExperiencePlatform) -> None:
    if not platform.switches.large_files:
        raise not_found("There is no such endpoint.")


def _large_file(batch: Batch, name: str) -> StoredFile:
    file = batch.files.get(name)
    if file is None or (file.complete and not file.parts):
        raise not_found(f"No large file {name} was initialized in batch {batch.id}.")
    return file


def _check_octets(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip() != OCTETS:
        raise unsupported_media_type()


def _response(
    switches: ExperiencePlatformSwitches,
    status: int,
    file: StoredFile,
    headers: dict[str, str] | None = None,
) -> Response:
    if switches.large_file_responses == "guides":
        return respond(status, None, headers)
    return respond(200, {"name": file.name, "sizeInBytes": file.size}, headers)


def _range(file: StoredFile, switches: ExperiencePlatformSwitches) -> dict[str, str]:
    end = file.received() if switches.received_bytes == "without a gap" else file.received_in_all()
    return {"range": f"{switches.range_format}0-{end - 1}"} if end else {}
