# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the Admin API's token and settings, and the profile API on the edge."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlencode
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from .answers import Answer, respond
from .service import Service
from .switches import ServiceSwitches

if TYPE_CHECKING:
    from .core import Emulator

V1 = "application/vnd.adobe.target.v1+json"
XML = "text/xml;charset=UTF-8"
SCOPES = ("profile_api", "debug_tools")
MOST_BYTES = 50_000_000
MOST_ROWS = 500_000
SHOWN_BODY = 1_000_000
KEYS = ("pcId", "thirdPartyId")

# "Clients" in the Admin API reference.
SETTINGS: dict[str, Any] = {
    "locale": "en_US",
    "timeZone": "America/Los_Angeles",
    "defaultCompanyName": "Emulator",
    "defaultReportSuite": "",
    "defaultDataCollectionHost": "",
    "ipObfuscation": "LAST_OCTET",
    "onDeviceDecisioning": False,
    "onDeviceDecisioningActivityQualification": False,
    "a4TEnabled": True,
    "permissionEnabled": False,
    "mobileDeviceTargetingEnabled": False,
    "geoLocationEnabled": True,
    "flickerManagerSettings": {"enabled": True, "timeout": 3000},
    "allowedRemoteOfferUrlPatterns": [],
    "enableProfileApiAuthentication": True,
}
BOOLEANS = {name for name, value in SETTINGS.items() if isinstance(value, bool)}

Endpoint = Literal["fetch", "update", "batchUpdate", "batchStatus"]


class TargetSwitches(ServiceSwitches):
    profile_token_seconds: int = Field(
        7_776_000, ge=0, description="life of a profile token (one example's value; unit inferred)"
    )
    debug_token_seconds: int = Field(21_600, ge=0, description="life of a debug token")
    token_created_status: Literal[200, 201] = Field(
        201, description="status of a created token; clients of the old site expected 200"
    )
    token_scope_parameter: Literal["authorizationScope", "scope", "either"] = Field(
        "authorizationScope", description="name of the query parameter; retired pages say `scope`"
    )
    no_token_status: Literal[400, 404] = Field(
        404, description="GET when there is no token, or it has expired (Adobe does not say)"
    )
    expired_token_shown: bool = Field(
        False, description="GET returns an expired token with `expiresIn` 0 instead (Adobe does not say)"
    )
    token_requires_authentication: bool = Field(
        False, description="a token is only created while authentication is required (Adobe does not say)"
    )
    disabling_authentication_drops_token: bool = Field(
        False, description="switching authentication off forgets the token (Adobe does not say)"
    )
    propagation_delay: float = Field(
        0,
        ge=0,
        description=(
            "seconds until the edge learns of a new token; until then the old one works (Adobe does not say)"
        ),
    )
    edge_nodes: int = Field(1, ge=1, description="number of edge nodes, which take turns in answering")
    edge_node_skew: float = Field(
        0,
        ge=0,
        description="each further node learns so many seconds later than the one before (Adobe does not say)",
    )
    authentication_enforced_on: list[Endpoint] = Field(
        ["fetch", "update", "batchUpdate", "batchStatus"],
        description="calls that need the token (sources disagree)",
    )
    token_checked_when_optional: bool = Field(
        False,
        description=(
            "while authentication is not required, a wrong token that is sent is refused all the same (Adobe "
            "does not say)"
        ),
    )
    bad_token_status: Literal["403", "401", "200"] = Field(
        "403", description="missing or wrong token; 200: `success` false, in XML (Adobe does not say)"
    )
    legacy_token_header: bool = Field(
        False, description="the header `access_token` of retired pages is accepted, too"
    )
    missing_permission_status: Literal[0, 401, 403, 500] = Field(
        0,
        description=(
            "the credential lacks the right to manage tokens; 0: it has it (its status is not documented)"
        ),
    )
    patch_status: Literal[200, 404, 405] = Field(
        200, description="answer to PATCH of the settings; it was added to the reference in 2026"
    )
    put_resets_omitted_settings: bool = Field(
        True,
        description=(
            "PUT of the settings sets fields that were left out to their defaults (Adobe does not say)"
        ),
    )
    refused_batch_status: Literal[200, 400] = Field(
        200, description="status of a batch that breaks a rule; always `success` false (Adobe does not say)"
    )
    profile_batch_polls: int = Field(
        1, ge=0, description="a profile batch is `incomplete` for so many questions"
    )
    profile_batch_outcome: Literal["complete", "stuck"] = Field(
        "complete", description="what becomes of a batch then"
    )
    profile_batch_failed_rows: int = Field(0, ge=0, description="so many rows of each batch fail")
    profile_batch_failed_rows_listed: bool = Field(
        True, description="the status lists failed rows (pages disagree)"
    )
    batch_status_memory: int = Field(
        10, ge=1, description="the status of so many batches is remembered (a retired page)"
    )
    batch_status_hours: float = Field(24, gt=0, description="and for so many hours")
    batch_status_host: Literal["own", "edge", "foreign"] = Field(
        "own",
        description=(
            "host in the status URL: this emulator, `mboxedge45.tt.omtrdc.net` as Adobe has it, or one "
            "outside Adobe"
        ),
    )
    unknown_batch_status: Literal[200, 404] = Field(
        404, description="status of a batch that is not known, or forgotten (Adobe does not say)"
    )


@dataclass
class ProfileToken:
    """A token that was issued."""

    value: str
    issued: float
    expires: float


@dataclass
class Batch:
    """A bulk update that was accepted."""

    batch_id: str
    version: int
    rows: int
    size: int
    sha256: str
    received: float
    body: bytes | None
    asked: int = 0
    end: str = "complete"
    failed: list[str] = field(default_factory=list)
    successful: int = 0
    not_found: int = 0


class Target(Service):
    """Tokens, settings, profiles and batches of one tenant; every tenant and client code leads to it."""

    switches: TargetSwitches

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self.switches = TargetSwitches()
        self.reset()

    def reset(self) -> None:
        self.settings: dict[str, Any] = {**SETTINGS, "allowedRemoteOfferUrlPatterns": []}
        #: Every token ever issued, per scope, oldest first.
        self.issued: dict[str, list[ProfileToken]] = {scope: [] for scope in SCOPES}
        #: (kind of id, id) -> attributes.
        self.profiles: dict[tuple[str, str], dict[str, str]] = {}
        self.batches: dict[str, Batch] = {}
        self._turn = 0
        self._number = 13_029_383

    def snapshot(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            # Enough to compare a token with, not enough to use.
            "tokens": {
                scope: {
                    "issued": len(tokens),
                    "sha256": hashlib.sha256(tokens[-1].value.encode()).hexdigest() if tokens else None,
                    "expires": tokens[-1].expires if tokens else None,
                }
                for scope, tokens in self.issued.items()
            },
            "profiles": len(self.profiles),
            "batches": [
                {name: getattr(batch, name) for name in ("batch_id", "version", "rows", "size", "sha256")}
                for batch in self.batches.values()
            ],
        }

    # -- tokens

    def token(self, scope: str = "profile_api") -> str | None:
        """Return the token that lives, for tests to compare with."""
        tokens = self.issued[scope]
        return tokens[-1].value if tokens and tokens[-1].expires > self.emulator.clock.now() else None

    def issue(self, scope: str = "profile_api") -> ProfileToken:
        """Create a token, as the button in Target's UI does; the one before is dead."""
        now = self.emulator.clock.now()
        seconds = (
            self.switches.profile_token_seconds
            if scope == "profile_api"
            else self.switches.debug_token_seconds
        )
        token = ProfileToken(str(uuid.uuid4()), now, now + seconds)
        self.emulator.redactor.add(token.value, token.value.upper())
        self.issued[scope].append(token)
        return token

    def expire_token(self, token: str) -> bool:
        known = [issued for tokens in self.issued.values() for issued in tokens if issued.value == token]
        for issued in known:
            issued.expires = 0
        return bool(known)

    def accepted_by_edge(self, token: str) -> bool:
        """Is this token the one that the node whose turn it is knows?"""
        node, self._turn = self._turn % self.switches.edge_nodes, self._turn + 1
        now = self.emulator.clock.now()
        known = now - self.switches.propagation_delay - node * self.switches.edge_node_skew
        current = next(
            (issued for issued in reversed(self.issued["profile_api"]) if issued.issued <= known), None
        )
        return current is not None and current.value == token and current.expires > now

    # -- batches

    def accept(
        self, version: int, client: str, body: bytes, rows: list[tuple[str, dict[str, str]]], key: str
    ) -> Batch:
        now = self.emulator.clock.now()
        self._number += 1
        batch = Batch(
            batch_id=f"{client}-{int(now * 1000)}-{self._number}",
            version=version,
            rows=len(rows),
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            received=now,
            body=body if len(body) <= SHOWN_BODY else None,
            end=self.switches.profile_batch_outcome,
        )
        for number, (identity, attributes) in enumerate(rows):
            if number < self.switches.profile_batch_failed_rows or (
                key == "thirdPartyId" and ("+" in identity or "/" in identity)
            ):
                batch.failed.append(identity)
                continue
            known = self.profiles.get((key, identity))
            if known is None:
                if version == 1:
                    batch.not_found += 1
                    continue
                known = self.profiles[key, identity] = {}
            known.update(attributes)
            batch.successful += 1
        self.batches[batch.batch_id] = batch
        return batch

    def remembered(self, batch_id: str) -> Batch | None:
        newest = list(self.batches)[-self.switches.batch_status_memory :]
        batch = self.batches.get(batch_id)
        too_old = (
            batch is not None
            and self.emulator.clock.now() - batch.received > self.switches.batch_status_hours * 3600
        )
        return batch if batch_id in newest and not too_old else None

    def status_url(self, batch: Batch, client: str) -> str:
        host = {
            "own": self.emulator.url,
            "edge": "http://mboxedge45.tt.omtrdc.net",
            "foreign": "http://status.example.org",
        }[self.switches.batch_status_host]
        return f"{host}/m2/{client}/profile/batchStatus?{urlencode({'batchId': batch.batch_id})}"


class NotTaken(Exception):
    """Why a batch is refused."""


def parse_batch(body: bytes) -> tuple[str, list[tuple[str, dict[str, str]]]]:
    """Return the key column and the rows of a bulk update.

    :raises NotTaken: saying what is wrong.
    """
    if len(body) >= MOST_BYTES:
        raise NotTaken("The file is larger than 50 MB")
    if not body.startswith(b"batch="):
        raise NotTaken("The file must begin with batch=")
    try:
        lines = body.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise NotTaken("The file is not URL-encoded") from None
    names = lines[0].removeprefix("batch=").rstrip("\r").split(",")
    key, attributes = names[0], [unquote(name) for name in names[1:]]
    if key not in KEYS:
        raise NotTaken("The first column must be pcId or thirdPartyId")
    if not attributes:
        raise NotTaken("No parameters")
    lines = [line for line in (line.rstrip("\r") for line in lines[1:]) if line]
    if len(lines) > MOST_ROWS:
        raise NotTaken("More than 500000 rows")
    rows: list[tuple[str, dict[str, str]]] = []
    for line in lines:
        cells = line.split(",")
        if len(cells) > len(names):
            raise NotTaken(f"Row {len(rows) + 1} has more values than there are parameters")
        # Empty cells never clear a value.
        rows.append(
            (
                unquote(cells[0]),
                {name: unquote(cell) for name, cell in zip(attributes, cells[1:], strict=False) if cell},
            )
        )
    if not any(values for _, values in rows):
        raise NotTaken("No values in the batch")
    return key, rows


def problem(status: int, code: str, message: str) -> Answer:
    """Return Target's own error."""
    body = {
        "httpStatus": status,
        "requestId": str(uuid.uuid4()),
        "requestTime": "2026-01-01T00:00:00.000Z",
        "errors": [{"errorCode": code, "message": message, "meta": {}}],
    }
    return Answer(status, body)


def xml(fields: dict[str, Any], rest: str = "", status: int = 200) -> Response:
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
    return respond(status, f"<response>{inner}{rest}</response>", media_type=XML)


def router(emulator: Emulator) -> APIRouter:
    routes = APIRouter()
    target = emulator.target

    # -- Admin API

    def admin(request: Request) -> None:
        gateway = emulator.gateway
        gateway.check(request, org=False)
        accept = request.headers.get("accept", "*/*")
        if not any(word in accept for word in ("*/*", "application/*", V1)):
            raise problem(406, "Unsupported.Feature", "The requested version is not supported")
        if target.switches.missing_permission_status:
            status = target.switches.missing_permission_status
            raise problem(
                status,
                "Internal.Error" if status == 500 else "Forbidden",
                "User is not allowed to perform the operation",
            )

    def asked_scope(request: Request) -> str:
        wanted = target.switches.token_scope_parameter
        names = ("authorizationScope", "scope") if wanted == "either" else (wanted,)
        scope = next((request.query_params[name] for name in names if name in request.query_params), None)
        if scope not in SCOPES:
            raise problem(400, "Invalid.Parameter", f"{names[0]} must be one of {', '.join(SCOPES)}")
        return scope

    def shown(token: ProfileToken, scope: str) -> dict[str, Any]:
        left = max(0, int(token.expires - emulator.clock.now()))
        return {"accessToken": token.value, "tokenType": "bearer", "scope": scope, "expiresIn": left}

    @routes.get("/{tenant}/target/authentication/token")
    async def read_token(request: Request, tenant: str) -> Response:
        admin(request)
        scope = asked_scope(request)
        tokens = target.issued[scope]
        if not tokens or (
            tokens[-1].expires <= emulator.clock.now() and not target.switches.expired_token_shown
        ):
            raise problem(target.switches.no_token_status, "NotFound", "There is no token")
        return respond(200, shown(tokens[-1], scope), media_type=V1)

    @routes.post("/{tenant}/target/authentication/token")
    async def create_token(request: Request, tenant: str) -> Response:
        admin(request)
        scope = asked_scope(request)
        if (
            target.switches.token_requires_authentication
            and not target.settings["enableProfileApiAuthentication"]
        ):
            raise problem(400, "Invalid.State", "Authentication is not required")
        return respond(target.switches.token_created_status, shown(target.issue(scope), scope), media_type=V1)

    @routes.get("/{tenant}/target/clients/settings")
    async def read_settings(request: Request, tenant: str) -> Response:
        admin(request)
        return respond(200, target.settings, media_type=V1)

    @routes.patch("/{tenant}/target/clients/settings")
    async def patch_settings(request: Request, tenant: str) -> Response:
        admin(request)
        if target.switches.patch_status != 200:
            raise problem(target.switches.patch_status, "NotAllowed", "Request method 'PATCH' not supported")
        change_settings(target.settings | checked(await request.json()))
        return respond(200, target.settings, media_type=V1)

    @routes.put("/{tenant}/target/clients/settings")
    async def put_settings(request: Request, tenant: str) -> Response:
        admin(request)
        left_out = (
            SETTINGS | {"enableProfileApiAuthentication": False}
            if target.switches.put_resets_omitted_settings
            else target.settings
        )
        change_settings(left_out | checked(await request.json()))
        return respond(200, target.settings, media_type=V1)

    def checked(body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise problem(400, "Invalid.Body", "The body must be an object")
        for name, value in body.items():
            if name not in SETTINGS:
                raise problem(400, "Unknown.Field", f"Unrecognized field {name!r}")
            if name in BOOLEANS and not isinstance(value, bool):
                raise problem(400, "Invalid.Field", f"{name} must be a boolean")
        return body

    def change_settings(settings: dict[str, Any]) -> None:
        target.settings = settings
        if (
            target.switches.disabling_authentication_drops_token
            and not settings["enableProfileApiAuthentication"]
        ):
            target.issued["profile_api"].clear()

    @routes.post("/_emulator/target/profile-token")
    async def create_profile_token() -> Response:
        """Somebody presses "Generate New Profile Authentication Token" in Target's UI."""
        target.issue()
        return respond(204)

    # -- edge

    def admitted(request: Request, endpoint: Endpoint) -> bool:
        """Let a request pass, or raise; False when it must be refused in XML."""
        if endpoint not in target.switches.authentication_enforced_on:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if not token and target.switches.legacy_token_header:
            token = request.headers.get("access_token", "")
        if not target.settings["enableProfileApiAuthentication"] and not (
            token and target.switches.token_checked_when_optional
        ):
            return True
        if target.accepted_by_edge(token):
            return True
        answer = int(target.switches.bad_token_status)
        if answer == 200 and endpoint != "fetch":
            return False
        status = 401 if answer == 401 else 403
        raise Answer(status, {"status": status, "message": "Unauthorized" if status == 401 else "Forbidden"})

    refused = {"success": "false", "batchStatus": "", "message": "Forbidden: invalid access token"}

    @routes.post("/m2/{client}/profile/batchUpdate")
    async def batch_v1(request: Request, client: str) -> Response:
        return await batch_update(request, client, 1)

    @routes.post("/m2/{client}/v2/profile/batchUpdate")
    async def batch_v2(request: Request, client: str) -> Response:
        return await batch_update(request, client, 2)

    async def batch_update(request: Request, client: str, version: int) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
        if not admitted(request, "batchUpdate"):
            return xml(refused)
        try:
            key, rows = await asyncio.to_thread(parse_batch, bytes(body))
        except NotTaken as reason:
            return xml(
                {"success": "false", "batchStatus": "", "message": reason},
                status=target.switches.refused_batch_status,
            )
        batch = target.accept(version, client, bytes(body), rows, key)
        return xml(
            {
                "success": "true",
                "batchStatus": target.status_url(batch, client),
                "message": "Batch submitted for processing",
            }
        )

    @routes.get("/m2/{client}/profile/batchStatus")
    @routes.get("/m2/{client}/v2/profile/batchStatus")
    async def batch_status(request: Request, client: str) -> Response:
        if not admitted(request, "batchStatus"):
            return xml(refused)
        batch = target.remembered(request.query_params.get("batchId", ""))
        if batch is None:
            return xml(
                {"success": "false", "message": "Unknown batchId"},
                status=target.switches.unknown_batch_status,
            )
        batch.asked += 1
        ended = batch.asked > target.switches.profile_batch_polls
        fields: dict[str, Any] = {
            "batchId": batch.batch_id,
            "status": batch.end if ended else "incomplete",
            "batchSize": batch.rows,
        }
        rest = ""
        if request.query_params.get("showDetails") == "true":
            done = ended and batch.end == "complete"
            fields |= {
                "consumedCount": batch.rows if done else 0,
                "successfulUpdates": batch.successful if done else 0,
                "profilesNotFound": batch.not_found if done else 0,
                "failedUpdates": len(batch.failed) if done else 0,
            }
            if done and target.switches.profile_batch_failed_rows_listed:
                rest = "".join(
                    f"<profile><id>{escape(one)}</id><status>failed</status></profile>"
                    for one in batch.failed
                )
        return xml(fields, rest)

    @routes.api_route("/m2/{client}/profile/update", methods=["GET", "POST"])
    async def update(request: Request, client: str) -> Response:
        if not admitted(request, "update"):
            return xml({"success": "false", "message": refused["message"]})
        values = dict(request.query_params)
        largest = 8 * 1024
        size = len(request.url.query)
        if request.method == "POST":
            text = await request.body()
            size, largest = len(text), 60 * 1024
            values |= {
                name: value for name, value in (await request.form()).items() if isinstance(value, str)
            }
        if size > largest:
            return xml({"success": "false", "message": f"The request is larger than {largest} bytes"})
        identity = (
            ("thirdPartyId", values["mbox3rdPartyId"])
            if "mbox3rdPartyId" in values
            else ("pcId", values.get("mboxPC", ""))
        )
        if not identity[1]:
            return xml({"success": "false", "message": "mboxPC or mbox3rdPartyId is required"})
        known = target.profiles.get(identity)
        if known is not None:
            known.update(
                {
                    name.removeprefix("profile."): value
                    for name, value in values.items()
                    if name.startswith("profile.")
                }
            )
        return xml({"success": "true", "pcId": identity[1], "message": "Request successfully submitted"})

    @routes.get("/rest/v1/profiles/{profile_id}")
    async def fetch(request: Request, profile_id: str) -> Response:
        return fetched(request, "pcId", "mboxPC", profile_id)

    @routes.get("/rest/v1/profiles/thirdPartyId/{profile_id}")
    async def fetch_third_party(request: Request, profile_id: str) -> Response:
        return fetched(request, "thirdPartyId", "third party id", profile_id)

    @routes.get("/rest/v1/profiles/marketingCloudVisitorId/{profile_id}")
    async def fetch_visitor(request: Request, profile_id: str) -> Response:
        return fetched(request, "marketingCloudVisitorId", "marketing cloud visitor id", profile_id)

    def fetched(request: Request, kind: str, words: str, profile_id: str) -> Response:
        client = request.query_params.get("client", "")
        admitted(request, "fetch")
        attributes = target.profiles.get((kind, profile_id))
        if attributes is None:
            raise Answer(
                404,
                {"status": 404, "message": f"No profile found for client {client} with {words}={profile_id}"},
            )
        now = emulator.clock.milliseconds()
        values = {name: {"value": value, "modifiedAt": now} for name, value in attributes.items()}
        return respond(
            200,
            {
                "client": client,
                "visitorId": {kind: profile_id},
                "modifiedAt": now,
                "profileAttributes": values,
            },
        )

    return routes
