# SPDX-License-Identifier: Apache-2.0
"""Audiences: metadata create (AIS) and the audiences API (UPS)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.answers import Answer, respond
from airflow_provider_adobe_audiences.emulator.control import json_object, json_value
from airflow_provider_adobe_audiences.emulator.gateway import Caller

from .bodies import AudienceBody, BulkGetBody, OperationBody, wrong_with
from .problems import ais_problem, ups_problem

if TYPE_CHECKING:
    from . import ExperiencePlatform

ACCEPT = "application/vnd.adobe.external.audiences+json; version=2"
AIS = ("/data/core/ais", "/core/ais")
UPS = "/data/core/ups"
#: Kept by the system; nobody can edit them.
SYSTEM_FIELDS = {
    "id",
    "audienceId",
    "namespace",
    "imsOrgId",
    "sandbox",
    "createEpoch",
    "creationTime",
    "updateEpoch",
    "updateTime",
    "_etag",
}


@dataclass
class Audience:
    """An audience in one sandbox."""

    caller: Caller
    document: dict[str, Any]
    #: Seconds since the epoch; before, reads do not show it.
    visible: float

    @property
    def id(self) -> str:
        return str(self.document["id"])


class Audiences:
    """All audiences of all organisations and sandboxes."""

    def __init__(self, platform: ExperiencePlatform) -> None:
        self._platform = platform
        self.audiences: dict[str, Audience] = {}

    def reset(self) -> None:
        self.audiences.clear()

    def of(self, caller: Caller, *, hidden: bool = False) -> list[Audience]:
        """Return the audiences of a sandbox; ``hidden`` ones too: they exist, but reads do not show them
        yet.
        """
        now = self._platform.clock.now()
        return [
            audience
            for audience in self.audiences.values()
            if (audience.caller.org_id, audience.caller.sandbox) == (caller.org_id, caller.sandbox)
            and (hidden or audience.visible <= now)
        ]

    def find(self, caller: Caller, number: str) -> Audience:
        found = next((audience for audience in self.of(caller) if audience.id == number), None)
        if found is None:
            message = f"The audience entity {number} is not found. Use a valid entity and try again."
            raise ups_problem(404, "UPAPI-113430-404", message)
        return found

    def twin(self, caller: Caller, namespace: str, audience_id: str) -> Audience | None:
        """Return the audience with this namespace and ``audienceId``."""
        for audience in self.of(caller, hidden=True):
            if (audience.document["namespace"], audience.document["audienceId"]) == (namespace, audience_id):
                return audience
        return None

    def add(self, caller: Caller, **fields: Any) -> Audience:
        """Register an external audience."""
        now = self._platform.clock.now()
        number = str(uuid.uuid4())
        document = {
            "id": number,
            "audienceId": number,
            "imsOrgId": caller.org_id,
            "sandbox": {
                "sandboxId": self._platform.sandbox_id(caller),
                "sandboxName": caller.sandbox,
                "type": "production" if caller.sandbox == "prod" else "development",
                "default": caller.sandbox == "prod",
            },
            "isSystem": False,
            "type": self._platform.switches.audiences_external_type,
            "lifecycleState": "published",
            "createdBy": f"{caller.client_id}@techacct.adobe.com",
            "createEpoch": int(now),
            "creationTime": int(now * 1000),
            "saveSegmentMembership": True,
        }
        document |= {name: value for name, value in fields.items() if value is not None}
        audience = Audience(caller, document, now + self._platform.switches.audience_visible_seconds)
        self.touch(audience)
        self.audiences[number] = audience
        return audience

    def touch(self, audience: Audience) -> None:
        now = self._platform.clock.now()
        etag = f'"{uuid.uuid4()}"'
        audience.document |= {"updateEpoch": int(now), "updateTime": int(now * 1000), "_etag": etag}

    def snapshot(self) -> list[dict[str, Any]]:
        return [audience.document for audience in self.audiences.values()]


def router(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter()
    for base in AIS:
        routes.include_router(_ais(platform, base))
    routes.include_router(_ups(platform))
    return routes


def _ais(platform: ExperiencePlatform, base: str) -> APIRouter:
    routes = APIRouter(prefix=base)
    audiences, switches = platform.audiences, platform.switches

    @routes.post("/audiences")
    async def create(request: Request, who: Caller = Depends(platform.caller)) -> Response:  # noqa: B008
        if base == "/core/ais" and not switches.core_ais_served:
            raise Answer(404)
        if (
            request.query_params.get("createAudienceMetaOnly") != "true"
            and switches.ais_flag_missing == "refuse"
        ):
            raise ais_problem(
                "100910-400", "The query parameter createAudienceMetaOnly=true is required.", who
            )
        if not _accepts(request) and switches.ais_accept_missing != "ignore":
            status = 406 if switches.ais_accept_missing == "not_acceptable" else 400
            raise ais_problem("100910-400", f"The header Accept: {ACCEPT} is required.", who, status)
        asked = await _object(request, who)
        for name in ("name", "namespace", "originName"):
            if not isinstance(asked.get(name), str) or not asked[name].strip():
                raise ais_problem("100910-400", f"{name} is required.", who)
        for name in ("description", "audienceId"):
            if asked.get(name) is not None and (not isinstance(asked[name], str) or not asked[name].strip()):
                raise ais_problem("100910-400", f"{name} must be a text.", who)
        if switches.ais_max_name_length and len(asked["name"]) > switches.ais_max_name_length:
            raise ais_problem(
                "100910-400", f"name has more than {switches.ais_max_name_length} characters.", who
            )
        newest = switches.ais_generation == "v4"
        audience_id = asked.get("audienceId") if newest else None
        if newest and audience_id is None and switches.ais_audience_id == "required":
            raise ais_problem("100910-400", "audienceId is required.", who)
        twin = audiences.twin(who, asked["namespace"], audience_id) if audience_id else None
        if twin is not None and switches.ais_duplicate == "conflict":
            raise ais_problem(
                "100950-409", f"The audience {audience_id} exists in namespace {asked['namespace']}.", who
            )
        if twin is None or switches.ais_duplicate == "new":
            fields = {name: asked.get(name) for name in ("name", "description", "namespace", "originName")}
            twin = audiences.add(who, audienceId=audience_id or str(uuid.uuid4()), **fields)
        answer = {
            name: twin.document[name] for name in ("id", "name", "audienceId") if newest or name != "id"
        }
        return respond(200, answer)

    return routes


def _accepts(request: Request) -> bool:
    wanted = ACCEPT.replace(" ", "")
    return any(kind.replace(" ", "") == wanted for kind in request.headers.get("accept", "").split(","))


async def _object(request: Request, who: Caller) -> dict[str, Any]:
    try:
        return await json_object(request)
    except Answer as answer:
        raise ais_problem("100910-400", answer.body["message"], who) from None


def _ups(platform: ExperiencePlatform) -> APIRouter:
    routes = APIRouter(prefix=UPS)
    audiences, switches = platform.audiences, platform.switches
    caller = Depends(platform.caller)

    @routes.get("/audiences")
    async def find(request: Request, who: Caller = caller) -> Response:
        asked = request.query_params
        found = _filtered(
            [audience.document for audience in audiences.of(who)], asked.getlist("property"), asked
        )
        sort, _, direction = asked.get("sort", "updateTime:desc").partition(":")
        found.sort(key=lambda document: str(document.get(sort, "")).lower(), reverse=direction == "desc")
        limit = min(_whole(asked.get("limit"), switches.audiences_limit, 1), switches.audiences_max_limit)
        start = _whole(asked.get("start"), 0, 0)
        first = start * limit if switches.audiences_start == "page" else start
        children = found[first : first + limit]
        page: dict[str, Any] = {
            "totalCount": len(found),
            "totalPages": math.ceil(len(found) / limit),
            "sortField": sort,
            "sort": direction or "asc",
            "pageSize": len(children),
            "limit": limit,
            "start": str(start) if switches.audiences_page_strings else start,
        }
        body: dict[str, Any] = {"children": children, "_page": page}
        if first + limit < len(found):
            following = start + (1 if switches.audiences_start == "page" else limit)
            page["next"] = str(following) if switches.audiences_page_strings else following
            body["_links"] = {
                "next": {"href": f"@/audiences?start={following}&limit={limit}&totalCount={len(found)}"}
            }
        return respond(200, body)

    @routes.post("/audiences")
    async def create(request: Request, who: Caller = caller) -> Response:
        asked = await _document(request)
        platform_type = {
            "namespace": "AEPSegments",
            "originName": "REAL_TIME_CUSTOMER_PROFILE",
            "type": "SegmentDefinition",
            "lifecycleState": "draft",
            "evaluationInfo": {
                name: {"enabled": name == "batch"} for name in ("batch", "continuous", "synchronous")
            },
        }
        audience = audiences.add(
            who, **platform_type | {name: value for name, value in asked.items() if name not in SYSTEM_FIELDS}
        )
        return respond(switches.ups_write_status, audience.document)

    @routes.post("/audiences/bulk-get")
    async def bulk_get(request: Request, who: Caller = caller) -> Response:
        asked = await _json(request)
        if wrong_with(BulkGetBody, asked):
            message = "The number of requested IDs is invalid. Cannot be 0 or exceed 100."
            raise ups_problem(400, "UPAPI-113015-400", message, detail_code="UPAPI-113015-400")
        ids = [entry["id"] for entry in asked["ids"]]
        known = {audience.id: audience.document for audience in audiences.of(who)}
        if not known.keys() & ids:
            message = f"The entity {','.join(map(str, ids))} is not found."
            raise ups_problem(404, "UPAPI-113000-404", message, detail_code="UPAPI-113000-404")
        missing = {
            "requestId": uuid.uuid4().hex,
            "errors": {"404": [{"code": "404", "message": "Not found."}]},
        }
        return respond(207, {"results": {number: known.get(number, missing) for number in ids}})

    @routes.get("/audiences/{audience_id}")
    async def get(audience_id: str, who: Caller = caller) -> Response:
        return respond(200, audiences.find(who, audience_id).document)

    @routes.put("/audiences/{audience_id}")
    async def put(request: Request, audience_id: str, who: Caller = caller) -> Response:
        audience, asked = audiences.find(who, audience_id), await _document(request)
        kept = {
            name: audience.document[name]
            for name in SYSTEM_FIELDS | {"isSystem", "type", "originName", "createdBy"}
            if name in audience.document
        }
        if asked.get("namespace", kept["namespace"]) != kept["namespace"]:
            raise ups_problem(
                400,
                "UPAPI-113434-400",
                "There is a problem in audience validation. Namespace is immutable field.",
            )
        _check_lifecycle(audience.document, asked)
        audience.document = {"lifecycleState": audience.document["lifecycleState"], **asked, **kept}
        audiences.touch(audience)
        return respond(switches.ups_write_status, audience.document)

    @routes.patch("/audiences/{audience_id}")
    async def patch(request: Request, audience_id: str, who: Caller = caller) -> Response:
        audience, operations = audiences.find(who, audience_id), await _json(request)
        changed = dict(audience.document)
        if not isinstance(operations, list) or not all(
            isinstance(operation, dict) for operation in operations
        ):
            raise ups_problem(400, "UPAPI-113434-400", "The body must be an array of operations.")
        for operation in operations:
            wrong = wrong_with(OperationBody, operation)
            if wrong:
                raise ups_problem(
                    400, "UPAPI-113434-400", f"Each operation needs op (always add), path and value: {wrong}"
                )
            name = operation["path"].removeprefix("/")
            if name in SYSTEM_FIELDS:
                raise ups_problem(
                    400,
                    "UPAPI-113434-400",
                    f"There is a problem in audience validation. {name} is immutable field.",
                )
            changed[name] = operation["value"]
        if wrong_with(AudienceBody, changed):
            raise _unreadable()
        _check_lifecycle(audience.document, changed)
        audience.document = changed
        audiences.touch(audience)
        return respond(switches.ups_write_status, audience.document)

    @routes.delete("/audiences/{audience_id}")
    async def delete(audience_id: str, who: Caller = caller) -> Response:
        audience = audiences.find(who, audience_id)
        if audience.document.get("dependents"):
            raise ups_problem(400, "UPAPI-113631-403", "The audience cannot be deleted.")
        del audiences.audiences[audience.id]
        return respond(204)

    return routes


def _filtered(documents: list[dict[str, Any]], properties: Sequence[str], asked: Any) -> list[dict[str, Any]]:
    equal = [text.partition("==")[::2] for text in properties if "==" in text]
    by_id = any(name == "audienceId" for name, _ in equal)
    found = [document for document in documents if by_id or document["lifecycleState"] != "inactive"]
    found = [document for document in found if not document["isSystem"]]
    for name, value in equal:
        found = [document for document in found if str(document.get(name)) == value]
    for name in ("name", "description"):
        if name in asked:
            found = [
                document for document in found if asked[name].lower() in str(document.get(name, "")).lower()
            ]
    return found


def _check_lifecycle(before: dict[str, Any], after: dict[str, Any]) -> None:
    state = after.get("lifecycleState")
    if state in {"delete", "deleted"}:
        message = (
            "There is a problem in audience validation. lifecycle field can not be modified to Delete using "
            "Patch operation"
        )
        raise ups_problem(400, "UPAPI-113434-400", message)
    if before["lifecycleState"] == "published" and state == "draft":
        raise ups_problem(
            400,
            "UPAPI-113434-400",
            "There is a problem in audience validation. published cannot become draft",
        )


async def _json(request: Request) -> Any:
    try:
        return await json_value(request)
    except Answer:
        raise _unreadable() from None


async def _document(request: Request) -> dict[str, Any]:
    asked = await _json(request)
    if wrong_with(AudienceBody, asked):
        raise _unreadable()
    return dict(asked)


def _unreadable() -> Answer:
    return ups_problem(
        400,
        "UPLIB-101206-500",
        "There is a problem extracting the user JSON, field(s) missing or invalid. Correct and try again.",
        "No usable value for name\nDid not find value which can be converted into java.lang.String",
        "Did not find value which can be converted into java.lang.String",
    )


def _whole(text: str | None, default: int, least: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ups_problem(400, "UPAPI-113434-400", f"{text!r} is not a whole number from {least} on.")
    return int(text)
