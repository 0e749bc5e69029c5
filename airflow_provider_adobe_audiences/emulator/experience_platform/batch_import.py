# SPDX-License-Identifier: Apache-2.0
"""Batch ingestion API: ``/data/foundation/import``."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.answers import Answer, respond
from airflow_provider_adobe_audiences.emulator.control import json_object
from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .batches import Batch, plain_id
from .bodies import BatchBody, InputFormatBody, wrong_with
from .files import ClientDisconnect, StoredFile, TooLargeError, receive
from .problems import problem, unsupported_media_type
from .records import BrokenFileError, InputFormat, preview

if TYPE_CHECKING:
    from . import ExperiencePlatform

BASE = "/data/foundation/import"
FILE = "/batches/{batch_id}/datasets/{dataset_id}/files/{name:path}"
PREVIEW_ROWS = 10
FORMATS = {"json", "parquet", "csv"}
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)(?:/(?:\d+|\*))?")


def bad_request(detail: str) -> Answer:
    return problem(400, "BadRequestError", detail)


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter(prefix=BASE)
    batches, switches = platform.batches, platform.switches
    caller = Depends(platform.caller)

    def find(who: Caller, batch_id: str, dataset_id: str | None = None) -> Batch:
        batch = batches.find(who, batch_id)
        if batch is None:
            raise problem(404, "NotFoundError", f"Batch {batch_id} not found.")
        if dataset_id is not None and dataset_id != batch.dataset_id:
            raise problem(404, "NotFoundError", f"Dataset {dataset_id} is not part of batch {batch_id}.")
        return batch

    def loading(who: Caller, batch_id: str, dataset_id: str) -> Batch:
        batch = find(who, batch_id, dataset_id)
        status = batches.status(batch)
        if status != "loading":
            raise bad_request(f"Batch {batch_id} is {status}: it takes no more files.")
        return batch

    def file_answer(status: int, file: StoredFile, headers: dict[str, str] | None = None) -> Response:
        if switches.large_file_responses == "guides":
            return respond(status, None, headers)
        return respond(200, {"name": file.name, "sizeInBytes": file.size}, headers)

    @routes.post("/batches")
    async def create(request: Request, who: Caller = caller) -> Response:
        asked = await json_object(request)
        written = _check_create(asked, switches.input_format_required)
        if batches.dataset(asked["datasetId"]) is None:
            raise bad_request(f"DataSet {asked['datasetId']} not found.")
        external_id = asked.get("externalId")
        twin = batches.by_external_id(who.org_id, external_id) if external_id else None
        if twin is not None and switches.external_id_duplicate != "accept":
            if switches.external_id_duplicate == "existing":
                return respond(201, created(twin, batches.status(twin)))
            status = 409 if switches.external_id_duplicate == "conflict" else 400
            raise problem(
                status,
                "ConflictError" if status == 409 else "BadRequestError",
                f"A batch with externalId {external_id} exists.",
            )
        return respond(201, created(batches.create(who, asked, written), "loading"))

    @routes.put(FILE)
    async def put(
        request: Request, batch_id: str, dataset_id: str, name: str, who: Caller = caller
    ) -> Response:
        _octets(request)
        batch = loading(who, batch_id, dataset_id)
        too_large = problem(
            switches.put_limit_status,
            "PayloadTooLarge",
            f"A file of more than {switches.put_limit} bytes is sent in parts.",
        )
        if switches.put_limit and int(request.headers.get("content-length", 0)) > switches.put_limit:
            raise too_large
        path = batches.disk.place()
        try:
            size = await receive(request, path, switches.put_limit)
        except (TooLargeError, ClientDisconnect) as reason:
            path.unlink(missing_ok=True)
            raise (too_large if isinstance(reason, TooLargeError) else Answer(400)) from None
        if batches.status(batch) != "loading":
            path.unlink(missing_ok=True)
            raise bad_request(f"Batch {batch_id} takes no more files.")
        before = batch.files.get(name)
        batch.files[name] = StoredFile(name, path, size)
        if before is not None:
            before.path.unlink(missing_ok=True)
        batches.touch(batch)
        return respond(200 if before else switches.put_created_status)

    @routes.post(FILE)
    async def large_file(
        request: Request, batch_id: str, dataset_id: str, name: str, who: Caller = caller
    ) -> Response:
        if not switches.large_files:
            raise problem(404, "NotFoundError", "There is no such endpoint.")
        batch = loading(who, batch_id, dataset_id)
        action = request.query_params.get("action", "").upper()
        if action == "INITIALIZE":
            file = StoredFile(name, batches.disk.place(), complete=False)
            batch.files[name] = file
        elif action == "COMPLETE":
            file = _large(batch, name)
            wrong = None if file.complete else file.gap_or_overlap()
            if wrong:
                raise bad_request(f"{name} cannot be completed: {wrong}.")
            file.complete = True
        else:
            raise bad_request("action must be INITIALIZE or COMPLETE.")
        batches.touch(batch)
        return file_answer(201, file)

    @routes.patch(FILE)
    async def part(
        request: Request, batch_id: str, dataset_id: str, name: str, who: Caller = caller
    ) -> Response:
        _octets(request)
        file = _large(loading(who, batch_id, dataset_id), name)
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
        except (TooLargeError, ClientDisconnect):
            raise bad_request(f"The body is not the {length} bytes of its Content-Range.") from None
        if size != length:
            raise bad_request(f"The body has {size} bytes, its Content-Range {length}.")
        if (first, last) not in file.parts or switches.duplicate_part == "overlap":
            file.parts.append((first, last))
        file.size = max(file.size, last + 1)
        return file_answer(200, file, _range(file) if switches.large_file_responses == "spec" else None)

    @routes.head(FILE)
    async def received(batch_id: str, dataset_id: str, name: str, who: Caller = caller) -> Response:
        return respond(200, None, _range(_large(find(who, batch_id, dataset_id), name)))

    def _range(file: StoredFile) -> dict[str, str]:
        end = file.received()
        return {"range": f"{switches.range_format}0-{end - 1}"} if end else {}

    @routes.get("/batches/{batch_id}/datasets/{dataset_id}/preview")
    async def show(request: Request, batch_id: str, dataset_id: str, who: Caller = caller) -> Response:
        batch = find(who, batch_id, dataset_id)
        asked = request.query_params
        if asked.get("format", "").lower() not in FORMATS:
            raise bad_request("format must be json, parquet or csv.")
        written = InputFormat(
            asked["format"].lower(), asked.get("isMultiLineJson") == "true", asked.get("delimiter", ",")
        )
        count = asked.get("nrow", "0")
        if len(written.delimiter) != 1 or not count.isascii() or not count.isdigit():
            raise bad_request("delimiter is one character, nrow a whole number.")
        try:
            rows = [
                row for _, path in batch.paths() for row in preview(path, written, int(count) or PREVIEW_ROWS)
            ]
        except (BrokenFileError, csv.Error, ValueError) as error:
            raise bad_request(f"There is nothing to preview: {error}") from None
        columns = list(dict.fromkeys(name for row in rows for name in row))
        shown = [{str(columns.index(name)): str(value) for name, value in row.items()} for row in rows]
        body = {
            "columns": [{"cid": str(number), "name": name} for number, name in enumerate(columns)],
            "rows": shown,
        }
        return respond(
            200, {"formatParams": {"format": written.format, "delimiter": written.delimiter}, "preview": body}
        )

    @routes.post("/batches/{batch_id}")
    async def act(request: Request, batch_id: str, who: Caller = caller) -> Response:
        batch = find(who, batch_id)
        action = request.query_params.get("action", "").upper()
        actions = {"COMPLETE": complete, "ABORT": abort, "FAIL": fail, "REVERT": revert}
        if action not in actions:
            raise bad_request("action must be COMPLETE, ABORT, FAIL or REVERT.")
        actions[action](batch, batches.status(batch))
        return respond(200, None if switches.action_response == "empty" else created(batch, "processing"))

    def complete(batch: Batch, status: str) -> None:
        if batch.said == "completed":
            return  # safe to repeat
        unfinished = [file.name for file in batch.files.values() if not file.complete]
        if status != "loading":
            raise bad_request(f"Batch {batch.id} is {status}: it cannot be completed.")
        if unfinished and switches.complete_with_open_files == "refuse":
            raise bad_request(f"Files without COMPLETE: {', '.join(unfinished)}.")
        if not batch.files and switches.complete_without_files == "refuse":
            raise bad_request(f"Batch {batch.id} has no files.")
        for name in unfinished:
            del batch.files[name]
        batches.complete(batch)

    def abort(batch: Batch, status: str) -> None:
        if status == "aborted" and switches.repeated_abort == "accept":
            return
        if status != "loading" and not (switches.abort_window == "running" and batches.running(batch)):
            raise bad_request(f"Batch {batch.id} is {status}: it cannot be aborted.")
        batches.say(batch, "aborted")

    def fail(batch: Batch, status: str) -> None:
        if status != "loading":
            raise bad_request(f"Batch {batch.id} is {status}: it cannot be failed.")
        batches.say(batch, "failed")

    def revert(batch: Batch, status: str) -> None:
        if not batches.succeeded(batch):
            raise bad_request(f"Batch {batch.id} is {status}: only a successful batch can be reverted.")
        batches.say(batch, "reverted")

    return routes


def created(batch: Batch, status: str) -> dict[str, Any]:
    """Return the answer to create, as the guides show it."""
    body: dict[str, Any] = {
        "id": batch.id,
        "imsOrg": batch.caller.org_id,
        "updated": 0,
        "status": status,
        "created": 0,
        "relatedObjects": [{"type": "dataSet", "id": batch.dataset_id}],
        "version": "1.0.0",
        "tags": batch.asked.get("tags") or {},
        "createdUser": f"{batch.caller.client_id}@techacct.adobe.com",
        "updatedUser": f"{batch.caller.client_id}@techacct.adobe.com",
    }
    replay = batch.asked.get("replay")
    if replay:
        body["replay"] = {
            key: [plain_id(text) for text in value] if isinstance(value, list) else value
            for key, value in replay.items()
        }
    return body


def _octets(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/octet-stream":
        raise unsupported_media_type()


def _large(batch: Batch, name: str) -> StoredFile:
    file = batch.files.get(name)
    if file is None or (file.complete and not file.parts):
        raise problem(404, "NotFoundError", f"No large file {name} was initialized in batch {batch.id}.")
    return file


def _check_create(asked: dict[str, Any], format_required: bool) -> InputFormat:
    """Return the input format of a create request, or raise its refusal."""
    wrong = wrong_with(BatchBody, asked)
    if wrong or (asked.get("inputFormat") is None and format_required):
        raise bad_request(wrong or "inputFormat is required.")
    given = InputFormatBody.model_validate(asked.get("inputFormat") or {"format": "parquet"})
    return InputFormat(
        format=given.format,
        multi_line_json=given.isMultiLineJson in (True, "true"),
        delimiter=given.delimiter,
        quote=given.quote,
        escape=given.escape,
        charset=given.charset,
        header=given.header in (True, "true"),
    )
