# SPDX-License-Identifier: Apache-2.0
"""Data Access API: ``/data/foundation/export``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import not_found
from airflow_provider_adobe_audiences.emulator.experience_platform.models.batches import Batch
from airflow_provider_adobe_audiences.emulator.experience_platform.models.records import as_json
from airflow_provider_adobe_audiences.emulator.experience_platform.service import ExperiencePlatform
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import described

BASE = "/data/foundation/export"
MAX_LIMIT = 100
PAGES = ("path", "start", "limit")
CHUNK = 1 << 18
OCTETS = "application/octet-stream"

#: A listed file: bytes of its own, or a place on disk.
Content = bytes | Path

routes = APIRouter(prefix=BASE, tags=["Data Access"])


@routes.get("/batches/{batch_id}/failed", openapi_extra=described(query=PAGES))
async def get_failed_files(
    request: Request, batch_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """List the files of rejected rows, or download one of them."""
    files = _failed(_find(platform, caller, batch_id), platform.switches.failed_listing_marker)
    path = request.query_params.get("path")
    return _listing(request, platform, files) if path is None else _send(files.get(path))


@routes.get("/batches/{batch_id}/meta", openapi_extra=described(query=PAGES))
async def get_meta_files(
    request: Request, batch_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """List the diagnostics of a batch, or download one of their files."""
    files = _meta(_find(platform, caller, batch_id))
    path = request.query_params.get("path", "").strip("/")
    if path in files:
        return _send(files[path])
    inside = {name: content for name, content in files.items() if not path or name.startswith(f"{path}/")}
    if not inside:
        raise not_found("There is no such path.")
    return _listing(request, platform, inside)


@routes.get("/batches/{batch_id}/files", openapi_extra=described(query=PAGES[1:]))
async def list_files(request: Request, batch_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """List the files that a batch has brought into its dataset."""
    batch = _find(platform, caller, batch_id)
    stored = list(batch.files.values()) if platform.batches.succeeded(batch) else []
    entries = [
        {
            "dataSetFileId": f"{batch.id}-{number}",
            "dataSetViewId": batch.dataset_id,
            "version": "1.0.0",
            "created": str(int(batch.completed * 1000)),
            "updated": str(batch.updated),
            "size": str(file.size),
            "isValid": True,
            "_links": {"self": {"href": f"{platform.url}{BASE}/files/{batch.id}-{number}"}},
        }
        for number, file in enumerate(stored, 1)
    ]
    return _page(request, platform, entries)


@routes.get("/files/{file_id}", openapi_extra=described(query=PAGES, headers=["range"]))
@routes.head("/files/{file_id}")
async def get_file(request: Request, file_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """List the content of a file of a dataset, or download it."""
    batch_id, _, number = file_id.rpartition("-")
    batch = _find(platform, caller, batch_id)
    stored = list(batch.files.values())
    known = number.isascii() and number.isdigit() and len(number) < 9 and 1 <= int(number) <= len(stored)
    if not known or not platform.batches.succeeded(batch):
        raise not_found("The requested file was not found.")
    chosen = stored[int(number) - 1]
    path = request.query_params.get("path")
    if path is None and request.method == "GET":
        return _listing(request, platform, {chosen.name: chosen.path})
    if path not in (None, chosen.name):
        raise not_found("The requested file was not found.")
    return FileResponse(chosen.path, media_type=OCTETS)


@routes.get("/datasets/{dataset_id}/preview")
async def preview_dataset(dataset_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Return the first rows of a dataset."""
    if platform.datasets.find(dataset_id, caller) is None:
        raise not_found("The requested dataset was not found.")
    rows = await asyncio.to_thread(lambda: list(islice(platform.batches.rows(dataset_id, caller), MAX_LIMIT)))
    return respond(200, as_json({"data": [row for _, row in rows]}))


def _find(platform: ExperiencePlatform, caller: Caller, batch_id: str) -> Batch:
    batch = platform.batches.find(caller, batch_id)
    if batch is None:
        raise not_found(f"Batch {batch_id} not found.")
    platform.batches.status(batch)  # notes when it has ended
    return batch


def _listing(request: Request, platform: ExperiencePlatform, files: dict[str, Content]) -> Response:
    base = f"{platform.url}{request.url.path}"
    entries = [
        {
            "name": name.rpartition("/")[2],
            "length": str(_size(content)),
            "_links": {"self": {"href": f"{base}?path={quote(name)}"}},
        }
        for name, content in files.items()
    ]
    return _page(request, platform, entries)


def _page(request: Request, platform: ExperiencePlatform, entries: list[dict[str, Any]]) -> Response:
    base = f"{platform.url}{request.url.path}?"
    path = request.query_params.get("path")
    if path is not None:
        base += f"path={quote(path)}&"
    start, limit = _whole(request, "start", 0), min(_whole(request, "limit", MAX_LIMIT), MAX_LIMIT)
    links: dict[str, Any] = {
        "page": {"href": f"{base}start={{start}}&limit={{limit}}", "templated": True},
    }
    if start + limit < len(entries):
        links["next"] = {"href": f"{base}start={start + limit}&limit={limit}"}
    page = {"limit": limit, "count": len(entries)}
    return respond(200, {"data": entries[start : start + limit], "_page": page, "_links": links})


def _send(content: Content | None) -> Response:
    if content is None:
        raise not_found("There is no such path.")
    if isinstance(content, bytes):
        return respond(200, content, media_type=OCTETS)
    headers = {"content-length": str(_size(content))}
    return StreamingResponse(_read(content), headers=headers, media_type=OCTETS)


def _failed(batch: Batch, marker: bool) -> dict[str, Content]:
    files: dict[str, Content] = {}
    if (
        batch.ended is not None
        and batch.outcome is not None
        and batch.rejected is not None
        and _size(batch.rejected)
    ):
        files["part-00000.json"] = batch.rejected
        if marker:
            files = {"_SUCCESS": b"", **files}
    return files


def _meta(batch: Batch) -> dict[str, Content]:
    """Return the diagnostics; there are none unless the batch asked for them."""
    if batch.ended is None or batch.outcome is None or not batch.diagnostics:
        return {}
    inputs = "".join(
        json.dumps({"path": file.name, "size": file.size}) + "\n" for file in batch.files.values()
    )
    files: dict[str, Content] = {"input_files/part-00000.json": inputs.encode()}
    if batch.rejected is not None and _size(batch.rejected):
        files["row_errors/parsing_errors_0.json"] = batch.rejected
        files["row_errors_sample.json"] = "".join(
            json.dumps(row) + "\n" for row in batch.outcome.sample
        ).encode()
    return files


def _size(content: Content) -> int:
    if isinstance(content, bytes):
        return len(content)
    return content.stat().st_size if content.exists() else 0


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else default
