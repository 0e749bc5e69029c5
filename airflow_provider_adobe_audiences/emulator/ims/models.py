# SPDX-License-Identifier: Apache-2.0
"""Credentials, and the access tokens that are issued for them."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse
from airflow_provider_adobe_audiences.emulator.service import Environment, Service

from .switches import ImsSwitches

CLIENT_ID = "emulator-client"
CLIENT_SECRET = "emulator-client-secret"  # noqa: S105  a published default of a local emulator
ORG_ID = "0123456789ABCDEF01234567@AdobeOrg"


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
    paths = re.compile("/ims/")

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.switches = ImsSwitches()
        self.credentials: dict[str, Credential] = {}
        self.tokens: dict[str, Token] = {}
        self.token_requests = 0
        self._recent: deque[float] = deque()

    def reset(self) -> None:
        """Forget all tokens, and all credentials but the default one."""
        self.credentials.clear()
        self.tokens.clear()
        self.token_requests = 0
        self._recent.clear()
        self.add_credential(CLIENT_ID, CLIENT_SECRET, ORG_ID)

    def refuse(self, request: Request, status: int) -> ErrorResponse:
        """Return the error for a request that no handler takes."""
        return error(status, "invalid_request", f"{request.method} {request.url.path} is not supported")

    def snapshot(self) -> dict[str, Any]:
        """Return what there is, without secrets."""
        now = self.environment.clock.now()
        return {
            "credentials": [
                {"client_id": c.client_id, "org_id": c.org_id} for c in self.credentials.values()
            ],
            "token_requests": self.token_requests,
            "valid_tokens": sum(token.expires > now for token in self.tokens.values()),
        }

    def add_credential(self, client_id: str, client_secret: str, org_id: str = ORG_ID) -> Credential:
        """Register a credential (or replace its secret).

        :raises TypeError: when one of them is no text, or empty.
        """
        if not all(isinstance(one, str) and one for one in (client_id, client_secret, org_id)):
            raise TypeError("client_id, client_secret and org_id are texts that are not empty")
        self.environment.redactor.add(client_secret)
        self.credentials[client_id] = Credential(client_id, client_secret, org_id)
        return self.credentials[client_id]

    def issue(self, client_id: str = CLIENT_ID) -> str:
        """Issue an access token."""
        now = self.environment.clock.now()
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
        if known is None or known.expires <= self.environment.clock.now():
            return None
        return self.credentials.get(known.client_id)

    def expire_token(self, token: str) -> bool:
        """Let an access token end at once; return whether it is one of IMS."""
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
        now = self.environment.clock.now()
        self.token_requests += 1
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if self.switches.token_requests_allowed and len(self._recent) >= self.switches.token_requests_allowed:
            return True
        self._recent.append(now)
        return False

    def grant(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the response to a token request.

        :param parameters: those of the request, from its form and its query.
        :raises ErrorResponse: when IMS refuses it.
        """
        if parameters.get("grant_type") != "client_credentials":
            raise error(
                400, "unsupported_grant_type", "the emulator knows grant_type=client_credentials only"
            )
        status = self.switches.bad_credential_status
        credential = self.credentials.get(parameters.get("client_id", ""))
        if credential is None:
            raise error(status, "invalid_client", "invalid client_id parameter")
        secret = parameters.get("client_secret", "")
        if not secrets.compare_digest(_bytes(credential.client_secret), _bytes(secret)):
            raise error(status, "invalid_client", "invalid client_secret parameter")
        if self.switches.scope_required and not parameters.get("scope"):
            raise error(400, "invalid_scope", "invalid scope parameter")
        unit = 1000 if self.switches.expires_in_unit == "milliseconds" else 1
        response: dict[str, Any] = {"access_token": self.issue(credential.client_id)}
        if self.switches.token_type_shown:
            response["token_type"] = "bearer"  # noqa: S105
        return response | {"expires_in": self.switches.token_seconds * unit}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64url(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def error(
    status: int, code: str, description: str, headers: Mapping[str, str] | None = None
) -> ErrorResponse:
    """Return an error of IMS."""
    body = {"error": code, "error_description": description}
    return ErrorResponse(status, body, {"x-debug-id": secrets.token_hex(8), **(headers or {})})
