# SPDX-License-Identifier: Apache-2.0
"""Errors of Target's Admin API, and the XML of its edge."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from starlette.responses import Response

from airflow_provider_adobe_audiences.emulator.clock import Clock
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse, respond

XML = "text/xml;charset=UTF-8"


def error(clock: Clock, status: int, code: str, message: str) -> ErrorResponse:
    """Return an error of the Admin API."""
    time = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="milliseconds")
    body = {
        "httpStatus": status,
        "requestId": str(uuid.uuid4()),
        "requestTime": time.replace("+00:00", "Z"),
        "errors": [{"errorCode": code, "message": message, "meta": {}}],
    }
    return ErrorResponse(status, body)


def xml(fields: Mapping[str, Any], rest: str = "", status: int = 200) -> Response:
    """Return a response of the edge.

    :param rest: more XML, behind the fields.
    """
    inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items())
    return respond(status, f"<response>{inner}{rest}</response>", media_type=XML)
