# SPDX-License-Identifier: Apache-2.0
"""Adobe's API gateway: what it checks before a service sees a request."""

from __future__ import annotations

import re
import uuid
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request

from .ims import Ims
from .journal import note
from .responses import ErrorResponse
from .service import Environment, Service
from .switches import ServiceSwitches

ORG_ID = re.compile(r"[0-9A-F]{24}@AdobeOrg", re.IGNORECASE)
MAX_URL_LENGTH = 2000
DEFAULT_SANDBOX = "prod"


class GatewaySwitches(ServiceSwitches):
    """Switches of the gateway."""

    rate_limit: int = Field(
        0,
        ge=0,
        description=(
            "requests per `rate_limit_seconds` before the gateway says 429050; 0: no limit (Adobe does not "
            "say)"
        ),
    )
    rate_limit_seconds: float = Field(60, gt=0, description="window of the rate limit")
    retry_after: Literal["seconds", "date", "none"] = Field(
        "seconds", description="form of `Retry-After` on 429 (Adobe does not say)"
    )
    sandbox_missing: Literal["default", "refuse"] = Field(
        "default",
        description=(
            "a request to Experience Platform without `x-sandbox-name` goes to the default sandbox, `prod`, "
            "and is marked in the journal (`default_sandbox`), or is refused with 400 (references call the "
            "header required)"
        ),
    )
    sandboxes: list[str] = Field(["prod"], description="known sandboxes; empty: any name is accepted")


@dataclass(frozen=True)
class Caller:
    """Who is calling."""

    client_id: str
    org_id: str
    sandbox: str = ""

    @property
    def user(self) -> str:
        """The technical account of the credential."""
        return f"{self.client_id}@techacct.adobe.com"

    @property
    def place(self) -> tuple[str, str]:
        """Organisation and sandbox: what is in another one is not there."""
        return self.org_id, self.sandbox

    @property
    def sandbox_id(self) -> str:
        """The id of the sandbox, always the same for the same sandbox."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.org_id}/{self.sandbox}"))


class Gateway(Service):
    """The checks, and the rate limit over all callers."""

    switches: GatewaySwitches
    paths = re.compile("(?!)")  # it stands before the services, and has none of its own

    def __init__(self, environment: Environment, ims: Ims) -> None:
        super().__init__(environment)
        self.ims = ims
        self.switches = GatewaySwitches()
        self._recent: deque[float] = deque()

    def reset(self) -> None:
        """Forget the requests that the rate limit counts."""
        self._recent.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return how many requests the rate limit counts at present."""
        return {"recent_requests": len(self._recent)}

    def check(
        self, request: Request, *, api_key: bool = True, org: bool = True, sandbox: bool = False
    ) -> Caller:
        """Return who is calling.

        :param api_key: is ``x-api-key`` required?
        :param org: is ``x-gw-ims-org-id`` required?
        :param sandbox: is the call made in a sandbox, ``x-sandbox-name``?
        :raises ErrorResponse: when the gateway refuses the request.
        """
        self._limit()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token.strip():
            raise refusal("403010", "Oauth token is missing.")
        credential = self.ims.credential_of(token.strip()) if scheme.lower() == "bearer" else None
        if credential is None:
            raise refusal(
                "401013",
                "Oauth token is not valid",
                {"www-authenticate": 'Bearer realm="adobe", error="invalid_token"'},
            )
        key = request.headers.get("x-api-key")
        if key is None and api_key:
            raise refusal("403000", "Api Key is required")
        if key is not None and key not in self.ims.credentials:
            raise refusal("403003", "Api Key is invalid")
        org_id = request.headers.get("x-gw-ims-org-id")
        if org_id is None and org:
            raise refusal("400003", "Missing header")
        if org_id is not None and not ORG_ID.fullmatch(org_id):
            raise refusal("403027", "User region is missing")
        if org_id is not None and org_id != credential.org_id:
            raise refusal("403025", "Profile is not valid")
        return Caller(credential.client_id, credential.org_id, self._sandbox(request) if sandbox else "")

    def _sandbox(self, request: Request) -> str:
        name = request.headers.get("x-sandbox-name")
        known = self.switches.sandboxes
        if name is None and self.switches.sandbox_missing == "refuse":
            raise refusal("400003", "Missing header: x-sandbox-name")
        if name is None:
            note(request, default_sandbox=True)
        if name is not None and known and name not in known:
            detail = f"There is no sandbox {name!r} in this organization."
            raise ErrorResponse(
                403,
                {"type": "/placeholder/type/uri", "status": 403, "title": "ForbiddenError", "detail": detail},
            )
        return name or DEFAULT_SANDBOX

    def _limit(self) -> None:
        if not self.switches.rate_limit:
            return
        now, window = self.environment.clock.now(), self.switches.rate_limit_seconds
        while self._recent and self._recent[0] <= now - window:
            self._recent.popleft()
        if len(self._recent) < self.switches.rate_limit:
            self._recent.append(now)
            return
        wait = max(1, int(self._recent[0] + window - now) + 1)
        headers = {
            "seconds": {"retry-after": str(wait)},
            "date": {"retry-after": formatdate(now + wait, usegmt=True)},
            "none": {},
        }[self.switches.retry_after]
        raise refusal("429050", "Too many requests", headers)


def refusal(code: str, message: str, headers: dict[str, str] | None = None) -> ErrorResponse:
    """Return the gateway's error with this six-digit code; its first three digits are the HTTP status."""
    return ErrorResponse(int(code[:3]), {"error_code": code, "message": message}, headers)


def missing_reason(status: int) -> str:
    """Return what the services say of a path that does not exist (404), a method that a path does not have
    (405), or an operation that the emulator does not play (501).
    """
    return {
        404: "There is no such resource.",
        405: "The resource does not support this method.",
        501: "The emulator does not implement this operation.",
    }[status]
