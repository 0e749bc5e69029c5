# SPDX-License-Identifier: Apache-2.0
"""Who may call the edge."""

from __future__ import annotations

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse

from .models import Target
from .switches import Endpoint

FORBIDDEN = {"success": "false", "batchStatus": "", "message": "Forbidden: invalid access token"}


def is_admitted(request: Request, target: Target, endpoint: Endpoint) -> bool:
    """Return whether a request may pass; if not, it must be refused in XML.

    :raises ErrorResponse: when it is refused in JSON.
    """
    switches = target.switches
    if endpoint not in switches.authentication_enforced_on:
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    if not token and switches.legacy_token_header:
        token = request.headers.get("access_token", "")
    required = target.settings["enableProfileApiAuthentication"]
    if not required and not (token and switches.token_checked_when_optional):
        return True
    if target.accepted_by_edge(token):
        return True
    status = int(switches.bad_token_status)
    if status == 200 and endpoint != "fetch":
        return False
    status = 401 if status == 401 else 403
    message = "Unauthorized" if status == 401 else "Forbidden"
    raise ErrorResponse(status, {"status": status, "message": message})
