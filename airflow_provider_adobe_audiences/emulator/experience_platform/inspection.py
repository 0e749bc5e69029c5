# SPDX-License-Identifier: Apache-2.0
"""Control API of Experience Platform: what arrived, datasets, and a place to send bytes to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from airflow_provider_adobe_audiences.emulator.answers import respond
from airflow_provider_adobe_audiences.emulator.control import json_object, with_clear_errors
from airflow_provider_adobe_audiences.emulator.wire import CONTROL

from .files import receive
from .records import as_json

if TYPE_CHECKING:
    from . import ExperiencePlatform

ROWS_AT_ONCE = 500


def digest(rows: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return count and a digest of rows that does not depend on their order (the sum of their SHA-256), in
    constant memory.
    """
    count, total = 0, 0
    for _, row in rows:
        count += 1
        total += int.from_bytes(hashlib.sha256(as_json(row).encode()).digest(), "big")
    return {"count": count, "digest": f"{total % (1 << 256):064x}"}


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter(prefix=CONTROL)

    @routes.get("/rows/{dataset_id}")
    async def rows(dataset_id: str) -> Response:
        """Every row that successful batches brought in, as JSON Lines: ``{"batch": id, "row": {...}}``."""

        def lines() -> Iterator[str]:
            found = platform.rows(dataset_id)
            while some := list(islice(found, ROWS_AT_ONCE)):
                yield "".join(as_json({"batch": batch, "row": row}) + "\n" for batch, row in some)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @routes.get("/rows/{dataset_id}/digest")
    def rows_digest(dataset_id: str) -> Response:
        return respond(200, digest(platform.rows(dataset_id)))

    @routes.post("/datasets")
    async def add_dataset(request: Request) -> Response:
        asked = await json_object(request)
        dataset = with_clear_errors(
            lambda: platform.batches.add_dataset(
                asked["id"], asked.get("name", ""), tuple(asked.get("required", ()))
            )
        )
        return respond(201, {"id": dataset.id, "name": dataset.name, "required": list(dataset.required)})

    @routes.put("/sink/{name}")
    async def sink(request: Request, name: str) -> Response:
        """Write the body to disk as an upload is, and forget it: the yardstick for the speed of uploads."""
        path = platform.batches.disk.place()
        forget = BackgroundTask(
            path.unlink, missing_ok=True
        )  # after the answer: removing a large file takes its time
        return JSONResponse({"name": name, "bytes": await receive(request, path)}, background=forget)

    return routes
