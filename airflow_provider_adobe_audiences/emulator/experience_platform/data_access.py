# SPDX-License-Identifier: Apache-2.0
"""Data Access API: ``/data/foundation/export``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from airflow_provider_adobe_audiences.emulator.answers import respond
from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .batches import Batch
from .problems import problem

if TYPE_CHECKING:
    from . import ExperiencePlatform

BASE = "/data/foundation/export"
LIMIT = 100
CHUNK = 1 << 18

#: A listed file: bytes of its own, or a place on disk.
Content = bytes | Path


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter(prefix=BASE)
    batches = platform.batches
    caller = Depends(platform.caller)

    def find(who: Caller, batch_id: str) -> Batch:
        batch = batches.find(who, batch_id)
        if batch is None:
            raise problem(404, "NotFoundError", f"Batch {batch_id} not found.")
        batches.status(batch)
        return batch

    def listing(request: Request, files: dict[str, Content]) -> Response:
        base = f"{platform.url}{request.url.path}"
        entries = [
            {
                "name": name.rpartition("/")[2],
                "length": str(_size(content)),
                "_links": {"self": {"href": f"{base}?path={quote(name)}"}},
            }
            for name, content in files.items()
        ]
        return page(request, entries)

    def page(request: Request, entries: list[dict[str, Any]]) -> Response:
        base = f"{platform.url}{request.url.path}"
        start, limit = _whole(request, "start", 0), min(_whole(request, "limit", LIMIT), LIMIT)
        body: dict[str, Any] = {
            "data": entries[start : start + limit],
            "_page": {"limit": limit, "count": len(entries)},
        }
        body["_links"] = {"page": {"href": f"{base}?start={{start}}&limit={{limit}}", "templated": True}}
        if start + limit < len(entries):
            body["_links"]["next"] = {"href": f"{base}?start={start + limit}&limit={limit}"}
        return respond(200, body)

    def send(content: Content | None) -> Response:
        if content is None:
            raise problem(404, "NotFoundError", "There is no such path.")
        if isinstance(content, Path):
            return StreamingResponse(
                _read(content),
                headers={"content-length": str(_size(content))},
                media_type="application/octet-stream",
            )
        return respond(200, content, media_type="application/octet-stream")

    @routes.get("/batches/{batch_id}/failed")
    async def failed(request: Request, batch_id: str, who: Caller = caller) -> Response:
        files = _failed(find(who, batch_id), platform.switches.failed_listing_marker)
        path = request.query_params.get("path")
        return listing(request, files) if path is None else send(files.get(path))

    @routes.get("/batches/{batch_id}/meta")
    async def meta(request: Request, batch_id: str, who: Caller = caller) -> Response:
        files = _meta(find(who, batch_id))
        path = request.query_params.get("path", "").strip("/")
        if path in files:
            return send(files[path])
        inside = {name: content for name, content in files.items() if not path or name.startswith(f"{path}/")}
        if not inside:
            raise problem(404, "NotFoundError", "There is no such path.")
        return listing(request, inside)

    @routes.get("/batches/{batch_id}/files")
    async def files(request: Request, batch_id: str, who: Caller = caller) -> Response:
        batch = find(who, batch_id)
        stored = list(batch.files.values()) if batches.succeeded(batch) else []
        return page(
            request,
            [
                {
                    "dataSetFileId": f"{batch.id}-{number}",
                    "dataSetViewId": batch.dataset_id,
                    "version": "1.0.0",
                    "created": str(batch.completed),
                    "updated": str(batch.updated),
                    "size": str(file.size),
                    "isValid": True,
                    "_links": {"self": {"href": f"{platform.url}{BASE}/files/{batch.id}-{number}"}},
                }
                for number, file in enumerate(stored, 1)
            ],
        )

    @routes.api_route("/files/{file_id}", methods=["GET", "HEAD"])
    async def file(request: Request, file_id: str, who: Caller = caller) -> Response:
        batch_id, _, number = file_id.rpartition("-")
        batch = find(who, batch_id)
        stored = list(batch.files.values())
        if not number.isdigit() or not 1 <= int(number) <= len(stored) or not batches.succeeded(batch):
            raise problem(404, "NotFoundError", "The requested file was not found.")
        chosen = stored[int(number) - 1]
        path = request.query_params.get("path")
        if path is None and request.method == "GET":
            return listing(request, {chosen.name: chosen.path})
        if path not in (None, chosen.name):
            raise problem(404, "NotFoundError", "The requested file was not found.")
        return FileResponse(chosen.path, media_type="application/octet-stream")

    return routes


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
    return int(text) if text.isascii() and text.isdigit() else default
