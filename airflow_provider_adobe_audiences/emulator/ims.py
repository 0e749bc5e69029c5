# SPDX-License-Identifier: Apache-2.0
"""Adobe IMS: client credentials in, access token out."""

from __future__ import annotations

import base64
import json
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from .answers import Answer, respond
from .service import Service
from .switches import ServiceSwitches

if TYPE_CHECKING:
    from .core import Emulator

CLIENT_ID = "emulator-client"
CLIENT_SECRET = "emulator-client-secret"  # noqa: S105  a published default of a local emulator
ORG_ID = "0123456789ABCDEF01234567@AdobeOrg"


class ImsSwitches(ServiceSwitches):
    token_seconds: int = Field(86_399, ge=0, description="life of an IMS access token")
    expires_in_unit: Literal["seconds", "milliseconds"] = Field(
        "seconds", description="unit of `expires_in` (Adobe's documents differ)"
    )
    bad_credential_status: Literal[400, 401] = Field(
        400, description="status for a wrong client id or secret (Adobe's documents differ)"
    )
    scope_required: bool = Field(
        False, description="a token request without `scope` is refused with `invalid_scope` (no Adobe text)"
    )
    token_type_shown: bool = Field(True, description="the answer has `token_type` (one sample leaves it out)")
    token_requests_allowed: int = Field(
        0, ge=0, description="token requests per minute before IMS throttles with 429; 0: no limit"
    )
    token_retry_after: int = Field(30, ge=0, description="`Retry-After` of the throttled answer, in seconds")


@dataclass(frozen=True)
class Credential:
    """An OAuth Server-to-Server credential of the Developer Console."""

    client_id: str
    client_secret: str
    org_id: str


@dataclass
class Token:
    """An issued access token."""

    client_id: str
    expires: float


class Ims(Service):
    """Credentials and the tokens issued for them."""

    switches: ImsSwitches

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self.switches = ImsSwitches()
        self.credentials: dict[str, Credential] = {}
        self.tokens: dict[str, Token] = {}
        self.token_requests = 0
        self._recent: deque[float] = deque()

    def reset(self) -> None:
        self.credentials.clear()
        self.tokens.clear()
        self.token_requests = 0
        self._recent.clear()
        self.add_credential(CLIENT_ID, CLIENT_SECRET, ORG_ID)

    def snapshot(self) -> dict[str, Any]:
        now = self.emulator.clock.now()
        return {
            "credentials": [
                {"client_id": c.client_id, "org_id": c.org_id} for c in self.credentials.values()
            ],
            "token_requests": self.token_requests,
            "valid_tokens": sum(token.expires > now for token in self.tokens.values()),
        }

    def add_credential(self, client_id: str, client_secret: str, org_id: str = ORG_ID) -> Credential:
        """Register a credential (or replace its secret)."""
        self.emulator.redactor.add(client_secret)
        self.credentials[client_id] = Credential(client_id, client_secret, org_id)
        return self.credentials[client_id]

    def issue(self, client_id: str = CLIENT_ID) -> str:
        """Issue an access token."""
        now = self.emulator.clock.now()
        if len(self.tokens) > 10_000:
            self.tokens = {text: token for text, token in self.tokens.items() if token.expires > now}
        head = _base64url({"alg": "RS256", "typ": "JWT", "x5u": "ims_na1-key-at-1.cer"})
        payload = {
            "client_id": client_id,
            "created_at": str(int(now * 1000)),
            "expires_in": str(self.switches.token_seconds * 1000),
        }
        token = f"{head}.{_base64url(payload)}.{secrets.token_urlsafe(48)}"
        self.tokens[token] = Token(client_id, now + self.switches.token_seconds)
        return token

    def credential_of(self, token: str) -> Credential | None:
        """Return the credential behind a valid access token; None when it is unknown or has expired."""
        known = self.tokens.get(token)
        if known is None or known.expires <= self.emulator.clock.now():
            return None
        return self.credentials.get(known.client_id)

    def expire_token(self, token: str) -> bool:
        known = self.tokens.get(token)
        if known is not None:
            known.expires = 0
        return known is not None

    def expire_tokens(self) -> None:
        """Let all tokens end at once."""
        for token in self.tokens.values():
            token.expires = 0

    def throttled(self) -> bool:
        """Count a token request; is it one too many?"""
        now = self.emulator.clock.now()
        self.token_requests += 1
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if self.switches.token_requests_allowed and len(self._recent) >= self.switches.token_requests_allowed:
            return True
        self._recent.append(now)
        return False

    def grant(self, asked: dict[str, str]) -> dict[str, Any]:
        """Answer a token request, or raise the refusal."""
        if asked.get("grant_type") != "client_credentials":
            raise _refusal(
                400, "unsupported_grant_type", "the emulator knows grant_type=client_credentials only"
            )
        credential = self.credentials.get(asked.get("client_id", ""))
        if credential is None:
            raise _refusal(
                self.switches.bad_credential_status, "invalid_client", "invalid client_id parameter"
            )
        if not secrets.compare_digest(
            credential.client_secret.encode(), asked.get("client_secret", "").encode()
        ):
            raise _refusal(
                self.switches.bad_credential_status, "invalid_client", "invalid client_secret parameter"
            )
        if self.switches.scope_required and not asked.get("scope"):
            raise _refusal(400, "invalid_scope", "invalid scope parameter")
        unit = 1000 if self.switches.expires_in_unit == "milliseconds" else 1
        answer: dict[str, Any] = {"access_token": self.issue(credential.client_id)}
        if self.switches.token_type_shown:
            answer["token_type"] = "bearer"  # noqa: S105
        return answer | {"expires_in": self.switches.token_seconds * unit}


def _base64url(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _refusal(status: int, error: str, description: str, **headers: str) -> Answer:
    headers = {"x-debug-id": secrets.token_hex(8)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Answer(status, {"error": error, "error_description": description}, headers)


def router(emulator: Emulator) -> APIRouter:
    routes = APIRouter()

    @routes.post("/ims/token/{version}")
    async def token(request: Request, version: str) -> Response:
        """Both versions in use take the parameters from the form or the query."""
        if version not in {"v2", "v3"}:
            raise Answer(404)
        ims = emulator.ims
        if ims.throttled():
            raise _refusal(
                429, "throttled", "too many token requests", Retry_After=str(ims.switches.token_retry_after)
            )
        form = await request.form()
        asked = dict(request.query_params) | {
            name: value for name, value in form.items() if isinstance(value, str)
        }
        return respond(200, ims.grant(asked), {"cache-control": "no-store"})

    return routes
