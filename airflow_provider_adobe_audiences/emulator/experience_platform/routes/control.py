# SPDX-License-Identifier: Apache-2.0
"""Control API of Experience Platform: what arrived, datasets, and a place to send bytes to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import Platform
from airflow_provider_adobe_audiences.emulator.experience_platform.models.files import receive
from airflow_provider_adobe_audiences.emulator.experience_platform.models.records import as_json
from airflow_provider_adobe_audiences.emulator.requests import json_object, with_clear_errors
from airflow_provider_adobe_audiences.emulator.responses import respond
from airflow_provider_adobe_audiences.emulator.routing import BINARY, CONTROL, described, object_of

ROWS_AT_ONCE = 500

routes = APIRouter(prefix=CONTROL, tags=["Control"])


@routes.get("/rows/{dataset_id}")
async def get_rows(dataset_id: str, platform: Platform) -> Response:
    """Return every row that successful batches brought in, as JSON Lines: ``{"batch": id, "row": {...}}``."""

    def lines() -> Iterator[str]:
        found = platform.rows(dataset_id)
        while some := list(islice(found, ROWS_AT_ONCE)):
            yield "".join(as_json({"batch": batch, "row": row}) + "\n" for batch, row in some)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@routes.get("/rows/{dataset_id}/digest")
async def get_rows_digest(dataset_id: str, platform: Platform) -> Response:
    """Return count and digest of the rows; the digest does not depend on their order."""
    return respond(200, await asyncio.to_thread(platform.digest, dataset_id))


@routes.post("/datasets", openapi_extra=described(body=object_of("id", "name", required="array")))
async def add_dataset(request: Request, platform: Platform) -> Response:
    """Register a dataset: ``id``, ``name``, ``required`` (dotted names of fields that no row may lack)."""
    body = await json_object(request)
    dataset = with_clear_errors(
        lambda: platform.datasets.add(body["id"], body.get("name", ""), tuple(body.get("required", ())))
    )
    return respond(201, {"id": dataset.id, "name": dataset.name, "required": list(dataset.required)})


@routes.put("/sink/{name}", openapi_extra=described(body=BINARY, media_type="application/octet-stream"))
async def discard(request: Request, name: str, platform: Platform) -> Response:
    """Write the body to disk as an upload is, and forget it: the yardstick for the speed of uploads."""
    path = platform.batches.disk.place()
    # After the response: removing a large file takes its time.
    forget = BackgroundTask(path.unlink, missing_ok=True)
    return JSONResponse({"name": name, "bytes": await receive(request, path)}, background=forget)
