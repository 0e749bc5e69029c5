# SPDX-License-Identifier: Apache-2.0
"""Audiences API (UPS): ``/data/core/ups/audiences``."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.experience_platform.dependencies import (
    Platform,
    PlatformCaller,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.errors import ups_error
from airflow_provider_adobe_audiences.emulator.experience_platform.models.audiences import SYSTEM_FIELDS
from airflow_provider_adobe_audiences.emulator.experience_platform.schemas import (
    AudienceBody,
    BulkGetBody,
    OperationBody,
    problem_of,
)
from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.requests import json_value
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond
from airflow_provider_adobe_audiences.emulator.routing import array_of, described

INVALID = "UPAPI-113434-400"
#: What an audience that is created here has, unless the body says otherwise.
DEFAULTS: dict[str, Any] = {
    "namespace": "AEPSegments",
    "originName": "REAL_TIME_CUSTOMER_PROFILE",
    "type": "SegmentDefinition",
    "lifecycleState": "draft",
    "evaluationInfo": {name: {"enabled": name == "batch"} for name in ("batch", "continuous", "synchronous")},
}

EXTERNAL_TYPES = {"ExternalSegment", "ExternalAudience"}
#: System fields that an external audience brings along.
GIVEN_FIELDS = {"audienceId", "namespace"}

FILTERS = ("start", "limit", "sort", "property", "name", "description", "entityType")

routes = APIRouter(prefix="/data/core/ups", tags=["Audiences"])


@routes.get("/audiences", openapi_extra=described(query=FILTERS))
async def list_audiences(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """List audiences, filtered, sorted and in pages."""
    query = request.query_params
    documents = [audience.document for audience in platform.audiences.of(caller)]
    found = _filtered(documents, query.getlist("property"), query)
    sort, _, direction = query.get("sort", "updateTime:desc").partition(":")
    found.sort(key=lambda document: str(document.get(sort, "")).lower(), reverse=direction == "desc")
    page = _page(found, query, platform.switches)
    page["_page"] |= {"sortField": sort, "sort": direction or "asc"}
    return respond(200, page)


def _page(
    found: list[dict[str, Any]], query: QueryParams, switches: ExperiencePlatformSwitches
) -> dict[str, Any]:
    """Return the page that was asked for."""
    limit = min(_whole(query.get("limit"), switches.audiences_limit, 1), switches.audiences_max_limit)
    start = _whole(query.get("start"), 0, 0)
    by_page = switches.audiences_start == "page"
    first = start * limit if by_page else start
    children = found[first : first + limit]
    page: dict[str, Any] = {
        "totalCount": len(found),
        "totalPages": math.ceil(len(found) / limit),
        "pageSize": len(children),
        "limit": limit,
        "start": str(start) if switches.audiences_page_strings else start,
    }
    body: dict[str, Any] = {"children": children, "_page": page}
    if first + limit < len(found):
        following = start + (1 if by_page else limit)
        page["next"] = str(following) if switches.audiences_page_strings else following
        href = f"@/audiences?start={following}&limit={limit}&totalCount={len(found)}"
        body["_links"] = {"next": {"href": href}}
    return body


@routes.post("/audiences", openapi_extra=described(body=AudienceBody))
async def create_audience(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Create an audience."""
    body = await _document(request)
    system = SYSTEM_FIELDS - GIVEN_FIELDS if body.get("type") in EXTERNAL_TYPES else SYSTEM_FIELDS
    given = {name: value for name, value in body.items() if name not in system}
    audience = platform.audiences.add(caller, **DEFAULTS | given)
    return respond(platform.switches.ups_write_status, audience.document)


@routes.post("/audiences/bulk-get", openapi_extra=described(body=BulkGetBody))
async def bulk_get_audiences(request: Request, platform: Platform, caller: PlatformCaller) -> Response:
    """Look several audiences up."""
    body = await _json(request)
    if problem_of(BulkGetBody, body):
        message = "The number of requested IDs is invalid. Cannot be 0 or exceed 100."
        raise ups_error(400, "UPAPI-113015-400", message, detail_code="UPAPI-113015-400")
    ids = [entry["id"] for entry in body["ids"]]
    known = {audience.id: audience.document for audience in platform.audiences.of(caller)}
    if not known.keys() & ids:
        message = f"The entity {','.join(map(str, ids))} is not found."
        raise ups_error(404, "UPAPI-113000-404", message, detail_code="UPAPI-113000-404")
    missing = {"requestId": uuid.uuid4().hex, "errors": {"404": [{"code": "404", "message": "Not found."}]}}
    return respond(207, {"results": {number: known.get(number, missing) for number in ids}})


@routes.get("/audiences/{audience_id}")
async def get_audience(audience_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Look an audience up."""
    return respond(200, platform.audiences.find(caller, audience_id).document)


@routes.put("/audiences/{audience_id}", openapi_extra=described(body=AudienceBody))
async def put_audience(
    request: Request, audience_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Replace an audience, but for what the system keeps."""
    audience, body = platform.audiences.find(caller, audience_id), await _document(request)
    kept = {
        name: audience.document[name]
        for name in SYSTEM_FIELDS | {"isSystem", "type", "originName", "createdBy"}
        if name in audience.document
    }
    if body.get("namespace", kept["namespace"]) != kept["namespace"]:
        raise _invalid("Namespace is immutable field.")
    _check_lifecycle(audience.document, body)
    audience.document = {"lifecycleState": audience.document["lifecycleState"], **body, **kept}
    platform.audiences.touch(audience)
    return respond(platform.switches.ups_write_status, audience.document)


@routes.patch("/audiences/{audience_id}", openapi_extra=described(body=array_of(OperationBody)))
async def patch_audience(
    request: Request, audience_id: str, platform: Platform, caller: PlatformCaller
) -> Response:
    """Change fields of an audience."""
    audience, operations = platform.audiences.find(caller, audience_id), await _json(request)
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise ups_error(400, INVALID, "The body must be an array of operations.")
    changed = dict(audience.document)
    for operation in operations:
        problem = problem_of(OperationBody, operation)
        if problem:
            message = f"Each operation needs op (always add), path and value: {problem}"
            raise ups_error(400, INVALID, message)
        name = operation["path"].removeprefix("/")
        if name in SYSTEM_FIELDS:
            raise _invalid(f"{name} is immutable field.")
        changed[name] = operation["value"]
    if problem_of(AudienceBody, changed):
        raise _unreadable()
    _check_lifecycle(audience.document, changed)
    audience.document = changed
    platform.audiences.touch(audience)
    return respond(platform.switches.ups_write_status, audience.document)


@routes.delete("/audiences/{audience_id}")
async def delete_audience(audience_id: str, platform: Platform, caller: PlatformCaller) -> Response:
    """Delete an audience that nothing depends on."""
    audience = platform.audiences.find(caller, audience_id)
    if audience.document.get("dependents"):
        raise ups_error(400, "UPAPI-113631-403", "The audience cannot be deleted.")
    del platform.audiences.audiences[audience.id]
    return respond(204)


def _filtered(
    documents: list[dict[str, Any]], properties: Sequence[str], query: QueryParams
) -> list[dict[str, Any]]:
    equal = [text.partition("==")[::2] for text in properties if "==" in text]
    by_id = any(name == "audienceId" for name, _ in equal)
    found = [document for document in documents if by_id or document["lifecycleState"] != "inactive"]
    found = [document for document in found if not document["isSystem"]]
    for name, value in equal:
        found = [document for document in found if str(document.get(name)) == value]
    for name in ("name", "description"):
        if name in query:
            text = query[name].lower()
            found = [document for document in found if text in str(document.get(name, "")).lower()]
    return found


def _check_lifecycle(before: dict[str, Any], after: dict[str, Any]) -> None:
    state = after.get("lifecycleState")
    if state in {"delete", "deleted"}:
        raise _invalid("lifecycle field can not be modified to Delete using Patch operation")
    if before["lifecycleState"] == "published" and state == "draft":
        raise _invalid("published cannot become draft")


async def _json(request: Request) -> Any:
    try:
        return await json_value(request)
    except ErrorResponse:
        raise _unreadable() from None


async def _document(request: Request) -> dict[str, Any]:
    body = await _json(request)
    if problem_of(AudienceBody, body):
        raise _unreadable()
    return dict(body)


def _invalid(reason: str) -> ErrorResponse:
    return ups_error(400, INVALID, f"There is a problem in audience validation. {reason}")


def _unreadable() -> ErrorResponse:
    return ups_error(
        400,
        "UPLIB-101206-500",
        "There is a problem extracting the user JSON, field(s) missing or invalid. Correct and try again.",
        "No usable value for name\nDid not find value which can be converted into java.lang.String",
        "Did not find value which can be converted into java.lang.String",
    )


def _whole(text: str | None, default: int, minimum: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < minimum:
        raise ups_error(400, INVALID, f"{text[:100]!r} is not a whole number from {minimum} on.")
    return int(text)
