# SPDX-License-Identifier: Apache-2.0
"""Experience Platform's error bodies: a different one in every corner."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from airflow_provider_adobe_audiences.emulator.answers import Answer

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.gateway import Caller

AIS_TITLES = {
    "100910-400": "BAD_REQUEST",
    "100920-401": "UNAUTHORIZED",
    "100940-404": "NOT_FOUND",
    "100950-409": "DUPLICATE_RESOURCE",
    "100960-422": "UNPROCESSABLE_ENTITY",
}


def ais_problem(code: str, detail: str, caller: Caller, status: int | None = None) -> Answer:
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
    return Answer(status, body)


def ups_problem(status: int, code: str, *messages: str, detail_code: str | None = None) -> Answer:
    """Return an error of the audiences API; ``errors`` is keyed by the status as text."""
    details = [{"code": detail_code or str(status), "message": message} for message in messages]
    body = {
        "requestId": uuid.uuid4().hex,
        "errors": {str(status): details},
        "type": f"https://ns.adobe.com/aep/errors/{code}",
        "title": messages[0],
        "status": status,
    }
    return Answer(status, body)


def problem(status: int, title: str, detail: str) -> Answer:
    """Return an error as Catalog writes it; the import and export APIs document none of their own."""
    return Answer(
        status, {"type": "/placeholder/type/uri", "status": status, "title": title, "detail": detail}
    )


def unsupported_media_type() -> Answer:
    kind = "http://ns.adobe.com/adobecloud/problem/unsupported-media-type"
    return Answer(415, {"status": 415, "title": "HTTP 415 Unsupported Media Type", "type": kind})
