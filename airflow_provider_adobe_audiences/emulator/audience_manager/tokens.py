# SPDX-License-Identifier: Apache-2.0
"""The legacy password grant of Audience Manager."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_adobe_audiences.emulator.ims import CLIENT_SECRET, Ims
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse
from airflow_provider_adobe_audiences.emulator.service import Environment

from .switches import AudienceManagerSwitches

USERNAME = "emulator-user"
PASSWORD = "emulator-password"  # noqa: S105  a published default of a local emulator


@dataclass
class LegacyToken:
    """An issued access token; ``expires`` below 0: never."""

    username: str
    expires: float


class LegacyTokens:
    """The tokens that were issued."""

    def __init__(self, environment: Environment, ims: Ims, switches: AudienceManagerSwitches) -> None:
        self._environment, self._ims, self._switches = environment, ims, switches
        self.access: dict[str, LegacyToken] = {}
        self.refresh: dict[str, str] = {}
        #: The grant type of each request, oldest first.
        self.requests: list[str] = []

    def reset(self) -> None:
        """Forget all tokens."""
        self.access.clear()
        self.refresh.clear()
        self.requests.clear()
        self._environment.redactor.add(PASSWORD, CLIENT_SECRET)

    def expire(self, token: str) -> bool:
        """Let an access token end at once; return whether it is known."""
        known = self.access.get(token)
        if known is not None:
            known.expires = 0
        return known is not None

    def username_of(self, token: str) -> str:
        """Return whose access token this is.

        :raises ErrorResponse: 401 when it is unknown or has expired.
        """
        known = self.access.get(token)
        if known is not None and (known.expires < 0 or known.expires > self._environment.clock.now()):
            return known.username
        reason = f"{'Invalid access token' if known is None else 'Access token expired'}: {token}"
        challenge = f'Bearer realm="oauth", error="invalid_token", error_description="{reason}"'
        body = {"error": "invalid_token", "error_description": reason}
        raise ErrorResponse(401, body, {"www-authenticate": challenge})

    def grant(self, authorization: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the response to a token request.

        :param authorization: the header ``Authorization``, with client id and secret.
        :param parameters: the fields of the form.
        :raises ErrorResponse: when it is refused.
        """
        self._check_client(authorization)
        username = self._username(parameters)
        seconds = self._switches.legacy_token_seconds
        token = str(uuid.uuid4())
        expires = -1 if seconds < 0 else self._environment.clock.now() + seconds
        self.access[token] = LegacyToken(username, expires)
        self._environment.redactor.add(token)
        response: dict[str, Any] = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": seconds,
            "scope": "read write",
        }
        if self._switches.legacy_refresh_token:
            response["refresh_token"] = refresh = str(uuid.uuid4())
            self.refresh[refresh] = username
            self._environment.redactor.add(refresh)
        return response

    def _check_client(self, authorization: str) -> None:
        scheme, _, encoded = authorization.partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
        except ValueError:
            pair = ""
        client_id, _, secret = pair.partition(":")
        credential = self._ims.credentials.get(client_id)
        if credential is None or not secrets.compare_digest(
            credential.client_secret.encode("utf-8", "surrogatepass"), secret.encode()
        ):
            raise _error(401, "invalid_client", "Bad client credentials")

    def _username(self, parameters: Mapping[str, str]) -> str:
        kind = parameters.get("grant_type", "")
        self.requests.append(kind)
        if kind == "password":
            if (parameters.get("username"), parameters.get("password")) != (USERNAME, PASSWORD):
                raise _error(400, "invalid_grant", "Bad credentials")
            return USERNAME
        if kind != "refresh_token":
            raise _error(400, "unsupported_grant_type", f"Unsupported grant type: {kind}")
        # Each one works once; the response carries the next.
        username = self.refresh.pop(parameters.get("refresh_token", ""), None)
        if username is None:
            raise _error(400, "invalid_grant", "Invalid refresh token")
        return username


def _error(status: int, code: str, description: str) -> ErrorResponse:
    return ErrorResponse(status, {"error": code, "error_description": description})
