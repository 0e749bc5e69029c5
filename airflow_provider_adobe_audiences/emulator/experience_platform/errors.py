# SPDX-License-Identifier: Apache-2.0
"""Experience Platform's error bodies: a different one in every corner."""

from __future__ import annotations

import uuid

from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse

AIS_TITLES = {
    "100910-400": "BAD_REQUEST",
    "100920-401": "UNAUTHORIZED",
    "100940-404": "NOT_FOUND",
    "100950-409": "DUPLICATE_RESOURCE",
    "100960-422": "UNPROCESSABLE_ENTITY",
}


def ais_error(code: str, detail: str, caller: Caller, status: int | None = None) -> ErrorResponse:
    """Return an AIS error. Only its code and title are documented; the shape is that of the newest
    services.
    """
    status = status or int(code[-3:])
    body = {
        "type": f"https://ns.adobe.com/aep/errors/{code}",
        "title": AIS_TITLES[code],
        "status": status,
        "detail": detail,
        "requestId": uuid.uuid4().hex,
        "report": {
            "tenantInfo": {"sandboxName": caller.sandbox, "imsOrgId": caller.org_id},
            "additionalContext": {},
        },
    }
    return ErrorResponse(status, body)


def ups_error(status: int, code: str, *messages: str, detail_code: str | None = None) -> ErrorResponse:
    """Return an error of the audiences API; ``errors`` is keyed by the status as text."""
    details = [{"code": detail_code or str(status), "message": message} for message in messages]
    body = {
        "requestId": uuid.uuid4().hex,
        "errors": {str(status): details},
        "type": f"https://ns.adobe.com/aep/errors/{code}",
        "title": messages[0],
        "status": status,
    }
    return ErrorResponse(status, body)


def platform_error(status: int, title: str, detail: str) -> ErrorResponse:
    """Return an error as Catalog writes it; the import and export APIs document none of their own."""
    return ErrorResponse(
        status, {"type": "/placeholder/type/uri", "status": status, "title": title, "detail": detail}
    )


def unsupported_media_type() -> ErrorResponse:
    """Return the error for a file that is not sent as bytes."""
    kind = "http://ns.adobe.com/adobecloud/problem/unsupported-media-type"
    return ErrorResponse(415, {"status": 415, "title": "HTTP 415 Unsupported Media Type", "type": kind})


def bad_request(detail: str) -> ErrorResponse:
    """Return a 400 of the import, export and Catalog APIs."""
    return platform_error(400, "BadRequestError", detail)


def not_found(detail: str) -> ErrorResponse:
    """Return a 404 of the import, export and Catalog APIs."""
    return platform_error(404, "NotFoundError", detail)
